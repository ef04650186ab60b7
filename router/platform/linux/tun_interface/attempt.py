"""Restoring one thing, and recording what came of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from router.platform.base.routes import ReconcileResult


def attempt(
    result: ReconcileResult, words: str, action: Callable[..., None], **arguments: Any
) -> bool:
    """Call `action`, and add `words` to what was restored or, with the reason, to what failed;
    whether it was restored."""
    try:
        action(**arguments)
    except OSError as error:
        result.failed.append(f"{words} ({error.strerror})")
    else:
        result.restored.append(words)
        return True
    return False
