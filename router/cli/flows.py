"""`tunrouter flows`: the live flows of the running router."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from router.cli import exits
from router.control.client import NoAnswerError, find_router, request
from router.platform.base.errors import PlatformError

Flow = Mapping[str, Any]


def flows(tun: str | None, wanted: Mapping[str, Any], order: str, *, as_json: bool) -> int:
    """Query the router with a TUN, or the only one, and print its flows; the exit status.

    wanted: the members of the request that say which flows; None: any. order: bytes, age or idle.
    """
    question = {name: value for name, value in wanted.items() if value is not None}
    try:
        answer = request(find_router(tun), {"command": "flows", "version": 2, **question})
    except (NoAnswerError, PlatformError) as error:
        print(f"tunrouter flows: {error}", file=sys.stderr)
        return exits.FAILED
    for what in answer["unread"]:
        print(f"tunrouter flows: not listed: {what}", file=sys.stderr)
    found = in_order(answer["flows"], order)
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        from router.cli.flows_text import print_flows  # noqa: PLC0415 - rich takes 0.1 s

        print_flows(found, sys.stdout)
    return exits.OK


def in_order(found: list[Flow], order: str) -> list[Flow]:
    """The largest first; where that is not known, last."""

    def size(flow: Flow) -> float:
        if order == "bytes":
            return float((flow["bytes_out"] or 0) + (flow["bytes_in"] or 0))
        value = flow[f"{order}_s"]
        return -1.0 if value is None else float(value)

    return sorted(found, key=size, reverse=True)
