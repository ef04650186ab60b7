"""Restoring one thing, and recording what came of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from pyroute2.netlink.exceptions import NetlinkError

from router.platform.base.routes import ReconcileResult


def attempt(
    result: ReconcileResult, words: str, action: Callable[..., None], **arguments: Any
) -> bool:
    """Call `action`, and add `words` to what was restored or, with the reason, to what failed;
    whether it was restored."""
    try:
        action(**arguments)
    except NetlinkError as error:
        result.failed.append(f"{words} ({os.strerror(error.code)})")
    except OSError as error:
        result.failed.append(f"{words} ({error.strerror})")
    else:
        result.restored.append(words)
        return True
    return False
