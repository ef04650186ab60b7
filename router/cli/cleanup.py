"""`tunrouter cleanup`."""

from __future__ import annotations

import sys

from router.cli import exits
from router.config.text import harmless
from router.platform import clean_up
from router.platform.base.errors import PlatformError
from router.platform.reason import reason


def cleanup() -> int:
    """Undo what runs have left whose guard and undoer were killed; the exit status."""
    status, found = exits.OK, False
    try:
        for left in clean_up():
            found = True
            if left.why is None:
                print(f"undone: {left.words}")
            else:
                print(f"could not be undone: {harmless(f'{left.words}: {left.why}')}")
                status = exits.FAILED
    except PlatformError as error:
        print(f"tunrouter: {error}", file=sys.stderr)
        return exits.FAILED
    except OSError as error:
        print(f"tunrouter: what runs have left cannot be read: {reason(error)}", file=sys.stderr)
        return exits.FAILED
    if not found:
        print("nothing to clean up: no run has left anything behind")
    return status
