"""The TUN's own routes and name, put back by a netlink socket made of memory."""

from __future__ import annotations

import errno
from ipaddress import ip_interface
from typing import Any, cast

from pyroute2.netlink.exceptions import NetlinkError

from router.platform.base import ReconcileResult
from router.platform.linux.own_link import OwnLink
from router.platform.linux.reconcile import KernelRoute
from router.policy.network import TABLE_LOCAL, TABLE_MAIN, RouteKind

V4, V6 = ip_interface("192.168.7.1/30"), ip_interface("fd77::1/126")
LOCAL_V6 = KernelRoute(6, TABLE_LOCAL, RouteKind.LOCAL, int(V6.ip), 128)
PREFIX_V6 = KernelRoute(6, TABLE_MAIN, RouteKind.UNICAST, int(V6.network.network_address), 126)


class Tun:
    """See LinuxTun."""

    name, index, mtu = "tun11", 9, 1500


class Netlink:
    """See IPRoute. An IPv4 route is refused as long as its source is no local address."""

    def __init__(self) -> None:
        self.routes: list[str] = []
        self.addresses: list[tuple[str, str]] = []

    def route(self, command: str, **route: Any) -> None:
        if route["type"] != "local" and "192.168.7.1/32" not in self.routes:
            raise NetlinkError(errno.EINVAL)
        self.routes.append(route["dst"])

    def addr(self, command: str, **address: Any) -> None:
        self.addresses.append((command, address["address"]))


def own_link(netlink: Netlink) -> OwnLink:
    return OwnLink(cast(Any, netlink), cast(Any, Tun()), [V4, V6])


def test_what_is_missing_at_the_first_look_is_put_back() -> None:
    netlink, kept = Netlink(), ReconcileResult([], [])
    own_link(netlink).put_routes_right(4, set(), kept)
    assert netlink.routes == ["192.168.7.1/32", "192.168.7.0/30", "192.168.7.3/32"]
    assert kept.failed == []


def test_an_ipv6_address_is_added_anew_for_its_routes() -> None:
    netlink, kept = Netlink(), ReconcileResult([], [])
    own_link(netlink).put_routes_right(6, {LOCAL_V6}, kept)
    assert netlink.addresses == [("del", "fd77::1"), ("add", "fd77::1")]
    assert kept == ReconcileResult(["the unicast route fd77::/126"], [])


def test_a_local_route_of_ipv6_is_missed_once_it_has_been_there() -> None:
    netlink, kept = Netlink(), ReconcileResult([], [])
    link = own_link(netlink)
    link.put_routes_right(6, {PREFIX_V6}, kept)
    assert netlink.addresses == []
    link.put_routes_right(6, {PREFIX_V6, LOCAL_V6}, kept)
    link.put_routes_right(6, {PREFIX_V6}, kept)
    assert netlink.addresses == [("del", "fd77::1"), ("add", "fd77::1")]
