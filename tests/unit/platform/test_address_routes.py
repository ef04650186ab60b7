"""The routes that come with the TUN's addresses are restored, with a netlink socket in memory."""

from __future__ import annotations

import errno
import os
from ipaddress import ip_address, ip_interface

import pytest

from router.platform.base.routes import ReconcileResult
from router.platform.linux.netlink.addresses import add_address, delete_address
from router.platform.linux.netlink.constants import RTA_DST, RTM_NEWROUTE, RTN_LOCAL
from router.platform.linux.netlink.messages import RTMSG, attributes
from router.platform.linux.netlink.request import Request
from router.platform.linux.reconcile import KernelRoute
from router.platform.linux.tun_interface.address_routes import AddressRoutes
from router.platform.linux.tun_interface.addresses import TunAddresses
from router.policy.network import TABLE_LOCAL, TABLE_MAIN, RouteKind

V4, V6 = ip_interface("192.168.7.1/30"), ip_interface("fd77::1/126")
LOCAL_V6 = KernelRoute(6, TABLE_LOCAL, RouteKind.LOCAL, int(V6.ip), 128)
PREFIX_V6 = KernelRoute(6, TABLE_MAIN, RouteKind.UNICAST, int(V6.network.network_address), 126)
INDEX = 9
ANEW = [delete_address(INDEX, V6), add_address(INDEX, V6)]


class Netlink:
    """Refuses an IPv4 route as long as its source is no local address."""

    def __init__(self) -> None:
        self.routes: list[str] = []
        self.others: list[Request] = []

    def request(self, wanted: Request) -> None:
        if wanted.kind != RTM_NEWROUTE:
            self.others.append(wanted)
            return
        fields = RTMSG.unpack_from(wanted.body)
        length, kind = fields[1], fields[7]
        if kind != RTN_LOCAL and "192.168.7.1/32" not in self.routes:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        address = attributes(wanted.body[RTMSG.size :])[RTA_DST]
        self.routes.append(f"{ip_address(address)}/{length}")


@pytest.fixture
def netlink(monkeypatch: pytest.MonkeyPatch) -> Netlink:
    netlink = Netlink()
    for module in ("addresses", "address_routes"):
        monkeypatch.setattr(
            f"router.platform.linux.tun_interface.{module}.request", netlink.request
        )
    return netlink


def address_routes() -> AddressRoutes:
    return AddressRoutes(INDEX, TunAddresses(INDEX, [V4, V6]))


def test_what_is_missing_at_the_first_restore_is_added(netlink: Netlink) -> None:
    result = ReconcileResult.nothing()
    address_routes().restore(4, set(), result)
    assert netlink.routes == ["192.168.7.1/32", "192.168.7.0/30", "192.168.7.3/32"]
    assert result.failed == []


def test_an_ipv6_address_is_added_again_for_its_routes(netlink: Netlink) -> None:
    result = ReconcileResult.nothing()
    address_routes().restore(6, {LOCAL_V6}, result)
    assert netlink.others == ANEW
    assert result == ReconcileResult(["the unicast route fd77::/126"], [], [])


def test_a_local_route_of_ipv6_is_expected_once_it_was_present(netlink: Netlink) -> None:
    result = ReconcileResult.nothing()
    routes = address_routes()
    routes.restore(6, {PREFIX_V6}, result)
    assert netlink.others == []
    routes.restore(6, {PREFIX_V6, LOCAL_V6}, result)
    routes.restore(6, {PREFIX_V6}, result)
    assert netlink.others == ANEW
