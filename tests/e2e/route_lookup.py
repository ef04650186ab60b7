"""What the kernel answers to route lookups: python -m tests.e2e.route_lookup, JSON in and out.

Stdin has a list of requests, each a list (destination, interface or null, source or null, matched);
stdout has a list of answers, each null or an object.
"""

from __future__ import annotations

import json
import socket
import sys
from ipaddress import ip_address

from router.platform.linux.netlink.route_lookup import Answer, RouteLookup

Request = tuple[str, str | None, str | None, bool]


def _ask(
    lookup: RouteLookup, destination: str, interface: str | None, source: str | None, matched: bool
) -> Answer | None:
    to = ip_address(destination)
    return lookup.ask(
        to.version,
        to.packed,
        oif=socket.if_nametoindex(interface) if interface else None,
        source=ip_address(source).packed if source else None,
        matched=matched,
    )


def _shown(answer: Answer | None) -> dict[str, object] | None:
    if answer is None:
        return None
    return answer._asdict() | {
        "interface": socket.if_indextoname(answer.interface) if answer.interface else None,
        "gateway": str(ip_address(answer.gateway)) if answer.gateway else None,
        "source": str(ip_address(answer.source)) if answer.source else None,
        "metrics": {kind: payload.hex() for kind, payload in answer.metrics},
    }


if __name__ == "__main__":
    with RouteLookup() as lookup:
        answers = [_shown(_ask(lookup, *request)) for request in json.load(sys.stdin)]
    json.dump(answers, sys.stdout)
