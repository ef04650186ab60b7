"""The versions of the control protocol.

    1    one line of request, one JSON text as the answer
    2    `flows`, `events`, `trace`; a client may follow, by `interval_s`: one JSON object a line

A request says which version it needs, as its `version`; one without needs the first.

Always true: a router answers the requests of all versions up to its own, and its refusals carry
its version, so that a newer command can tell an older router.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

VERSION: Final = 2
FOLLOWING: Final = 2
"""The version since which a client may follow."""


def refusal(request: Mapping[str, Any]) -> str | None:
    """Why a request of some version cannot be answered here; None if it can."""
    version = request.get("version", 1)
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        return f"the version of a request is a number, from 1 to {VERSION}"
    if version > VERSION:
        return (
            f"the request needs version {version} of the control protocol, this router has "
            f"{VERSION}: the command is newer than the router; restart the router"
        )
    return None


def too_old(request: Mapping[str, Any], what: str, needed: int) -> str | None:
    """Why `what` is not for the client that has sent a request; None if it is."""
    version = request.get("version", 1)
    if version >= needed:
        return None
    return (
        f"{what} needs version {needed} of the control protocol, the request has {version}: the "
        "client is older than the router; use the tunrouter that the router was started from"
    )


def error(why: str) -> bytes:
    """The answer to a request that cannot be answered."""
    return json.dumps({"error": why, "version": VERSION}).encode() + b"\n"


def lost(number: int) -> bytes:
    """The line that stands for lines which a slow follower was not sent."""
    return json.dumps({"lost": number}).encode() + b"\n"
