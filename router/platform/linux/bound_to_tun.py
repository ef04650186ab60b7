"""What sockets that are bound to the TUN need (`ping -I tun11`).

The routes into the TUN name the source of their outbound, and its answers arrive by that interface,
where a socket that is bound to the TUN hears nothing. So what is bound to the TUN finds a default
route of its own there, without a source, and is relayed. The route goes with the TUN, the rule that
leads to it does not.
"""

from __future__ import annotations

import errno
import socket

from router.platform.linux.entries import BOUND_RULE_PRIORITY, TABLE_BASE, rule_entry
from router.platform.linux.netlink.constants import RTPROT_TUNROUTER
from router.platform.linux.netlink.request import Request, request
from router.platform.linux.netlink.rules import Rule, add_rule
from router.platform.linux.netlink.single_routes import SingleRoute, add_route
from router.platform.privileged.undoer import Undoer


def route_bound_sockets(tun: str, index: int, undoer: Undoer) -> bool:
    """Make rule and route of both families where they are missing; whether one was. Raises
    OSError."""
    changed = False
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            changed |= _route(family, tun, index, undoer)
        except OSError as error:
            if error.errno not in (errno.EAFNOSUPPORT, errno.EOPNOTSUPP):
                raise
    return changed


def _route(family: int, tun: str, index: int, undoer: Undoer) -> bool:
    table = TABLE_BASE + index
    rule = Rule(family, tun, table, BOUND_RULE_PRIORITY, RTPROT_TUNROUTER)
    route = SingleRoute(family, index, table, RTPROT_TUNROUTER, priority=index)
    routed = add_missing(add_route(route))
    undoer.record(rule_entry(rule))
    return add_missing(add_rule(rule)) or routed


def add_missing(addition: Request) -> bool:
    """Add a rule or a route; whether it was not there. Raises OSError."""
    try:
        request(addition)
    except FileExistsError:
        return False
    return True
