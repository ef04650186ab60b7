"""What an interface needs so that sockets bound to it work while the TUN has the routes.

1. Answers. With `rp_filter=1` the kernel drops a packet whose reverse route is another interface,
   and for everything captured that is the TUN. The effective value is the greater of `all` and the
   interface's own, so 2 (loose) on the interface suffices (Documentation/networking/ip-sysctl).
2. IPv6 without a default route. A bound IPv4 socket without a route takes the destination to be
   on the link, which is right for a tunnel; IPv6 says "Network is unreachable". A default route in
   a table of its own, found by `oif`, provides one. Its rule comes behind the main table's, so that
   any route by the interface that the system has is used first.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Final

from router.platform.linux.bound_to_tun import add_missing
from router.platform.linux.entries import (
    RULE_PRIORITY,
    TABLE_BASE,
    route_entry,
    rule_entry,
    sysctl_entry,
)
from router.platform.linux.netlink.constants import RTPROT_TUNROUTER
from router.platform.linux.netlink.route_lookup import RouteLookup
from router.platform.linux.netlink.rules import Rule, add_rule
from router.platform.linux.netlink.single_routes import SingleRoute, add_route
from router.platform.linux.undo import SYSCTL
from router.platform.linux.ways import default_by
from router.platform.privileged.undoer import Undoer

STRICT: Final = "1"
LOOSE: Final = "2"


def loosen_rp_filter(interface: str, undoer: Undoer) -> bool:
    """Accept answers whose reverse route is the TUN; whether that changed anything."""
    own = f"net/ipv4/conf/{interface}/rp_filter"
    before = _read(own)
    effective = {_read("net/ipv4/conf/all/rp_filter"), before}
    if before is None or STRICT not in effective or LOOSE in effective:
        return False
    undoer.record(sysctl_entry(own, before, LOOSE))
    (SYSCTL / own).write_text(LOOSE)
    return True


def give_default_route(interface: str, index: int, tun_index: int, undoer: Undoer) -> bool:
    """Let bound IPv6 sockets send anywhere by an interface that has no default route; whether
    that changed anything."""
    if _has_default(index, 6):
        return False
    table = TABLE_BASE + tun_index
    # One route for each interface, which IPv6 tells apart by metric.
    route = SingleRoute(socket.AF_INET6, index, table, RTPROT_TUNROUTER, priority=index)
    rule = Rule(socket.AF_INET6, interface, table, RULE_PRIORITY, RTPROT_TUNROUTER)
    undoer.record(route_entry(route))
    routed = add_missing(add_route(route))
    undoer.record(rule_entry(rule))
    return add_missing(add_rule(rule)) or routed


def _has_default(index: int, version: int) -> bool:
    with RouteLookup() as lookup:
        return default_by(lookup, version, index) is not None


def _read(path: str) -> str | None:
    try:
        return Path(SYSCTL / path).read_text().strip()
    except OSError:
        return None
