"""What sockets that are bound to the TUN need (`ping -I tun11`).

The routes into the TUN name the source of their outbound, and its answers arrive by that interface,
where a socket that is bound to the TUN hears nothing. So what is bound to the TUN finds a default
route of its own there, without a source, and is relayed. The route goes with the TUN, the rule that
leads to it does not.
"""

from __future__ import annotations

import errno
import socket
from typing import Any

from pyroute2.iproute.linux import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from router.platform.linux.entries import BOUND_RULE_PRIORITY, TABLE_BASE, rule_entry
from router.platform.linux.netlink.constants import RTPROT_TUNROUTER
from router.platform.linux.undoer import Undoer


def route_bound_sockets(netlink: IPRoute, tun: str, index: int, undoer: Undoer) -> bool:
    """Make rule and route of both families where they are missing; whether one was. Raises
    NetlinkError, OSError."""
    changed = False
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            changed |= _route(netlink, family, tun, index, undoer)
        except NetlinkError as error:
            if error.code not in (errno.EAFNOSUPPORT, errno.EOPNOTSUPP):
                raise
    return changed


def _route(netlink: IPRoute, family: int, tun: str, index: int, undoer: Undoer) -> bool:
    table = TABLE_BASE + index
    rule = {
        "family": family,
        "oifname": tun,
        "table": table,
        "priority": BOUND_RULE_PRIORITY,
        "protocol": RTPROT_TUNROUTER,
    }
    route = {
        "family": family,
        "dst": "default",
        "oif": index,
        "table": table,
        "priority": index,
        "proto": RTPROT_TUNROUTER,
    }
    routed = add_missing(netlink.route, route)
    undoer.record(rule_entry(**rule))
    return add_missing(netlink.rule, rule) or routed


def add_missing(what: Any, attributes: dict[str, Any]) -> bool:
    """Add a rule or a route; whether it was not there. Raises NetlinkError."""
    try:
        what("add", **attributes)
    except NetlinkError as error:
        if error.code != errno.EEXIST:
            raise
        return False
    return True
