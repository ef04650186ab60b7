"""`tunrouter reload`: other rules for the running router."""

from __future__ import annotations

import json
import sys
from typing import Final

from router.cli import exits
from router.control.client import NoAnswerError, find_router, request
from router.engine.reload.compiled import PATIENCE as READING
from router.platform.base.errors import PlatformError

PATIENCE: Final = 2 * READING + 10
"""Seconds: another reading may have to end before the requested one."""


def reload(tun: str | None, *, as_json: bool) -> int:
    """Make the router with a TUN, or the only one, read its rules again; the exit status."""
    try:
        answer = request(find_router(tun), {"command": "reload"}, PATIENCE)
    except (NoAnswerError, PlatformError) as error:
        print(f"tunrouter reload: {error}", file=sys.stderr)
        return exits.FAILED
    if as_json:
        print(json.dumps(answer, indent=1))
    else:
        if answer["problems"]:
            print(answer["problems"], file=sys.stderr)
        print(answer["summary"], file=sys.stdout if answer["reloaded"] else sys.stderr)
    return exits.OK if answer["reloaded"] else exits.FAILED
