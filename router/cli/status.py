"""`tunrouter status`: what the running router does."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from router.cli import exits
from router.config.problems import quoted
from router.config.spelling import nearest
from router.control.client import NoAnswerError, find_router, request
from router.platform.base.errors import PlatformError

ORDER: Final = ("pid", "uptime_s", "rules_file", "tun", "policies", "default", "drops", "flows")
"""The members before the rules, which may be many."""


def status(tun: str | None, required: Sequence[str], *, as_json: bool) -> int:
    """Query the router with a TUN, or the only one, and print its answer; the exit status.

    required: the policies that have to be up.
    """
    try:
        answer = request(find_router(tun), {"command": "status"})
    except (NoAnswerError, PlatformError) as error:
        print(f"tunrouter status: {error}", file=sys.stderr)
        return exits.FAILED
    if as_json:
        print(json.dumps({name: answer[name] for name in (*ORDER, "rules")}, indent=1))
    else:
        from router.cli.status_text import print_status  # noqa: PLC0415 - rich takes 0.1 s

        print_status(answer, sys.stdout)
    missed = [why for name in required if (why := _missed(name, answer["policies"])) is not None]
    for why in missed:
        print(f"tunrouter status: {why}", file=sys.stderr)
    return exits.FAILED if missed else exits.OK


def _missed(name: str, policies: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Why a policy does not meet the requirement to be up; None if it does."""
    if name in policies:
        policy = policies[name]
        if policy["state"] == "up":
            return None
        return f"policy {name} is down: {policy['why_down']}; {policy['applies']} applies"
    close = nearest(name, policies)
    known = f"did you mean {quoted(close)}?" if close else f"there are {', '.join(policies)}"
    return f"there is no policy {quoted(name)}: {known}"
