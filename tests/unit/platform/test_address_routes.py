"""The routes that come with the TUN's addresses are restored, with a netlink socket in memory."""

from __future__ import annotations

import errno
from ipaddress import ip_interface
from typing import Any, cast

from pyroute2.netlink.exceptions import NetlinkError

from router.platform.base.routes import ReconcileResult
from router.platform.linux.reconcile import KernelRoute
from router.platform.linux.tun_interface.address_routes import AddressRoutes
from router.platform.linux.tun_interface.addresses import TunAddresses
from router.policy.network import TABLE_LOCAL, TABLE_MAIN, RouteKind

V4, V6 = ip_interface("192.168.7.1/30"), ip_interface("fd77::1/126")
LOCAL_V6 = KernelRoute(6, TABLE_LOCAL, RouteKind.LOCAL, int(V6.ip), 128)
PREFIX_V6 = KernelRoute(6, TABLE_MAIN, RouteKind.UNICAST, int(V6.network.network_address), 126)


INDEX = 9


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


def address_routes(netlink: Netlink) -> AddressRoutes:
    addresses = TunAddresses(cast(Any, netlink), INDEX, [V4, V6])
    return AddressRoutes(cast(Any, netlink), INDEX, addresses)


def test_what_is_missing_at_the_first_restore_is_added() -> None:
    netlink, result = Netlink(), ReconcileResult.nothing()
    address_routes(netlink).restore(4, set(), result)
    assert netlink.routes == ["192.168.7.1/32", "192.168.7.0/30", "192.168.7.3/32"]
    assert result.failed == []


def test_an_ipv6_address_is_added_again_for_its_routes() -> None:
    netlink, result = Netlink(), ReconcileResult.nothing()
    address_routes(netlink).restore(6, {LOCAL_V6}, result)
    assert netlink.addresses == [("del", "fd77::1"), ("add", "fd77::1")]
    assert result == ReconcileResult(["the unicast route fd77::/126"], [], [])


def test_a_local_route_of_ipv6_is_expected_once_it_was_present() -> None:
    netlink, result = Netlink(), ReconcileResult.nothing()
    routes = address_routes(netlink)
    routes.restore(6, {PREFIX_V6}, result)
    assert netlink.addresses == []
    routes.restore(6, {PREFIX_V6, LOCAL_V6}, result)
    routes.restore(6, {PREFIX_V6}, result)
    assert netlink.addresses == [("del", "fd77::1"), ("add", "fd77::1")]
