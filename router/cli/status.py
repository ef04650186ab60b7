"""`tunrouter status`: what the running router does."""

from __future__ import annotations

import json
import sys
from typing import Final

from router.cli import exits
from router.control.client import NoAnswerError, find_router, request
from router.platform.base.errors import PlatformError

ORDER: Final = ("pid", "uptime_s", "rules_file", "tun", "policies", "default", "drops", "flows")
"""The members before the rules, which may be many."""


def status(tun: str | None, *, as_json: bool) -> int:
    """Query the router with a TUN, or the only one, and print its answer; the exit status."""
    try:
        answer = request(find_router(tun), {"command": "status"})
    except (NoAnswerError, PlatformError) as error:
        print(f"tunrouter status: {error}", file=sys.stderr)
        return exits.FAILED
    if as_json:
        print(json.dumps({name: answer[name] for name in (*ORDER, "rules")}, indent=1))
        return exits.OK
    from router.cli.status_text import print_status  # noqa: PLC0415 - rich takes 0.1 s

    print_status(answer, sys.stdout)
    return exits.OK
