"""`tunrouter cleanup`."""

from __future__ import annotations

import sys

from router.cli import exits
from router.platform import clean_up
from router.platform.base import PlatformError


def cleanup() -> int:
    """Undo what runs have left all of whose processes were killed; the exit status."""
    status, found = exits.OK, False
    try:
        for words, done in clean_up():
            found = True
            print(f"undone: {words}" if done else f"could not be undone: {words}")
            status = status if done else exits.FAILED
    except (PlatformError, OSError) as error:
        print(f"tunrouter: {error}", file=sys.stderr)
        return exits.FAILED
    if not found:
        print("nothing to clean up: no run has left anything behind")
    return status
