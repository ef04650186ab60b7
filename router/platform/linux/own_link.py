"""The TUN as an interface of the system: made once, and put back as it was made.

Always true: it is known by its index, so a new name does not hide it; what cannot be put back
hinders nothing else; only what the system itself has made by settings that were not ours (a
link-local address) is removed.

Must not know: which routes lead to it, beside those that come with its addresses.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from ipaddress import IPv4Interface, IPv6Interface
from typing import Any, Final

from pyroute2.iproute.linux import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from router.platform.base import PlatformError, ReconcileResult
from router.platform.families import FAMILY
from router.platform.linux.interfaces import LinuxInterfaces
from router.platform.linux.netlink.constants import (
    IFA_F_NODAD,
    IFF_UP,
    IN6_ADDR_GEN_MODE_NONE,
    RTPROT_KERNEL,
)
from router.platform.linux.reconcile import KernelRoute, present_routes
from router.platform.linux.tun import LinuxTun
from router.platform.linux.undo import SYSCTL
from router.policy.network import TABLE_LOCAL, TABLE_MAIN, Interface, RouteKind
from router.policy.prefixes import format_prefix

LOOSE: Final = 2
"""rp_filter: strict, it would drop answers by addresses that are not routed to the TUN (a hop of a
traceroute)."""
QUEUE: Final = 4096
"""Packets that the system may send before they are read. With the usual 500, a thousand programs
that connect at once lose half of their requests, and repeat them after a second."""
NO_BROADCAST: Final = 31
"""An IPv4 network of this length or longer has no broadcast address (RFC 3021)."""
ROUTE_TYPES: Final = {
    RouteKind.UNICAST: ("unicast", "link"),
    RouteKind.LOCAL: ("local", "host"),
    RouteKind.BROADCAST: ("broadcast", "link"),
}
"""Type and scope of the IPv4 routes that come with an address (fib_add_ifaddr)."""

Address = IPv4Interface | IPv6Interface


class OwnLink:
    """`tun` with its addresses; what it is called is what it was called at first."""

    def __init__(self, netlink: IPRoute, tun: LinuxTun, addresses: Sequence[Address]) -> None:
        self._netlink = netlink
        self._name, self._index = tun.name, tun.index
        self._size = {"mtu": tun.mtu, "txqlen": QUEUE}
        self._addresses = addresses
        self.impaired: set[int] = set()
        """The families that it lacks something for, so that routes may be refused."""
        self._new: set[Address] = set()
        self._seen = {
            route
            for address in addresses
            for route in _routes_of(address)
            if (route.version, route.kind) != (6, RouteKind.LOCAL)
        }

    def configure(self) -> None:
        """Settings, addresses, up. Raises NetlinkError, OSError."""
        for key, value in self._sysctls():
            _write(key, value)
        self._netlink.link("set", index=self._index, **self._size)
        for address in self._addresses:
            self._add(address)
        self._netlink.link("set", index=self._index, state="up")

    def put_right(self) -> ReconcileResult:
        """Whatever is no longer as it was made. Raises PlatformError if the TUN is gone."""
        kept = ReconcileResult([], [])
        link = self._link()
        self._new.clear()
        self.impaired.clear()
        name = link.get_attr("IFLA_IFNAME")
        if name != self._name:
            _attempt(kept, f"the name {self._name} of {name}", self._rename)
        for what, value in self._size.items():
            if link.get_attr(f"IFLA_{what.upper()}") != value:
                _attempt(kept, f"{what} {value} of {self._name}", self._set, **{what: value})
        generated = self._put_settings_right(kept)
        self._put_addresses_right(kept, generated=generated)
        if not self._link()["flags"] & IFF_UP:
            _attempt(kept, f"{self._name} is up", self._set, state="up")
            self._new.update(self._addresses)
        return kept

    def put_routes_right(
        self, version: int, present: set[KernelRoute], kept: ReconcileResult
    ) -> None:
        """The routes that come with the addresses of a family; `present` are those there are.

        An IPv6 address's local one does not count before it has been seen: older kernels have it
        by the loopback interface, and each makes it a moment later.
        """
        for address in self._addresses:
            if address.version != version:
                continue
            expected = _routes_of(address)
            missing = [route for route in expected if route in self._seen - present]
            self._seen |= present.intersection(expected)
            if not missing or address in self._new:
                continue
            if version == 4:
                for route in missing:
                    _attempt(kept, _shown(route), self._add_route, address=address, route=route)
            else:  # an IPv6 route of metric 0 can be made by the kernel alone
                words = ", ".join(map(_shown, missing))
                _attempt(kept, words, self._add_anew, address=address)

    def look(self) -> None:
        """Get to know the routes that have come with the addresses. Raises OSError."""
        for address in self._addresses:
            present = present_routes(self._index, address.version).kernel
            self._seen |= present.intersection(_routes_of(address))

    def _link(self) -> Any:
        try:
            (link,) = self._netlink.link("get", index=self._index)
        except NetlinkError as error:
            if error.code != errno.ENODEV:
                raise
            raise PlatformError(f"{self._name} is gone") from error
        return link

    def _set(self, **what: Any) -> None:
        self._netlink.link("set", index=self._index, **what)

    def _rename(self) -> None:
        try:
            self._set(ifname=self._name)
        except NetlinkError as error:
            if error.code != errno.EBUSY:
                raise
            self._set(state="down")  # before Linux 6.2 it has no other way to get a name
            self._set(ifname=self._name)

    def _sysctls(self) -> Iterator[tuple[str, int]]:
        """By the name that it has at present, should its own be taken."""
        name = self._present().name
        yield f"net/ipv4/conf/{name}/rp_filter", LOOSE
        yield f"net/ipv6/conf/{name}/disable_ipv6", 0
        yield f"net/ipv6/conf/{name}/addr_gen_mode", IN6_ADDR_GEN_MODE_NONE

    def _put_settings_right(self, kept: ReconcileResult) -> bool:
        """Whether the system may have generated addresses. To end IPv6 by a small MTU makes it
        forget the settings."""
        generated = False
        for key, value in self._sysctls():
            if _differs(key, value):
                words = f"{key.replace('/', '.')}={value}"
                done = _attempt(kept, words, _write, key=key, value=value)
                self._impair(6 if "ipv6" in key else 4, done=done)
                generated |= key.endswith("addr_gen_mode")
        return generated

    def _put_addresses_right(self, kept: ReconcileResult, *, generated: bool) -> None:
        present = self._present().addresses
        for address in present:
            if generated and address.is_link_local and address not in self._addresses:
                _attempt(kept, f"no {address}", self._remove, address=address)
        for address in self._addresses:
            if address not in present:
                done = _attempt(kept, str(address), self._add, address=address)
                self._impair(address.version, done=done)
                self._new.add(address)

    def _impair(self, version: int, *, done: bool) -> None:
        if not done:
            self.impaired.add(version)

    def _present(self) -> Interface:
        for interface in LinuxInterfaces().all().values():
            if interface.index == self._index:
                return interface
        raise PlatformError(f"{self._name} is gone")

    def _add(self, address: Address) -> None:
        self._netlink.addr(
            "add",
            index=self._index,
            address=str(address.ip),
            prefixlen=address.network.prefixlen,
            flags=IFA_F_NODAD if address.version == 6 else 0,
        )

    def _remove(self, address: Address) -> None:
        self._netlink.addr(
            "del",
            index=self._index,
            address=str(address.ip),
            prefixlen=address.network.prefixlen,
        )

    def _add_anew(self, address: Address) -> None:
        self._remove(address)
        self._add(address)

    def _add_route(self, address: Address, route: KernelRoute) -> None:
        """Not by the address: to remove an IPv4 one would remove all routes by the TUN."""
        kind, scope = ROUTE_TYPES[route.kind]
        self._netlink.route(
            "add",
            family=FAMILY[route.version],
            dst=format_prefix(route.version, route.first, route.length),
            oif=self._index,
            table=route.table,
            type=kind,
            scope=scope,
            proto=RTPROT_KERNEL,
            prefsrc=str(address.ip),
        )


def _routes_of(address: Address) -> list[KernelRoute]:
    """Those that the kernel makes with an address and that something depends on; the others name
    the address as their source, for which it has to be a local one."""
    version, network = address.version, address.network
    own, bits = int(address.ip), network.max_prefixlen
    first, length = int(network.network_address), network.prefixlen
    routes = [
        KernelRoute(version, TABLE_LOCAL, RouteKind.LOCAL, own, bits),
        KernelRoute(version, TABLE_MAIN, RouteKind.UNICAST, first, length),
    ]
    if version == 4 and length < NO_BROADCAST:
        last = int(network.broadcast_address)
        routes.append(KernelRoute(version, TABLE_LOCAL, RouteKind.BROADCAST, last, bits))
    return routes


def _shown(route: KernelRoute) -> str:
    return f"the {route.kind} route {format_prefix(route.version, route.first, route.length)}"


def _attempt(
    kept: ReconcileResult, words: str, deed: Callable[..., None], **arguments: Any
) -> bool:
    """Do it, and say what came of it; whether it is done."""
    try:
        deed(**arguments)
    except NetlinkError as error:
        kept.failed.append(f"{words} ({os.strerror(error.code)})")
    except OSError as error:
        kept.failed.append(f"{words} ({error.strerror})")
    else:
        kept.restored.append(words)
        return True
    return False


def _differs(key: str, value: int) -> bool:
    """A kernel without IPv6 has no such file, and neither has an interface where it has ended."""
    try:
        return (SYSCTL / key).read_text().strip() != str(value)
    except FileNotFoundError:
        return False


def _write(key: str, value: int) -> None:
    """Of the TUN, so gone with it."""
    if _differs(key, value):
        (SYSCTL / key).write_text(str(value))
