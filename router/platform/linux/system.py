"""Linux, put together: see router.platform.base.System."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Interface, IPv6Interface
from typing import Final

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from router.platform.base import Interfaces, PlatformError, Streams, TunDevice
from router.platform.linux.control_socket import control_socket
from router.platform.linux.datagrams import LinuxDatagramSocket, udp_socket
from router.platform.linux.interfaces import LinuxChanges, LinuxInterfaces
from router.platform.linux.keep import keep_routes
from router.platform.linux.poller import LinuxPoller
from router.platform.linux.present import present_endpoints, present_network
from router.platform.linux.route_batch import add_routes
from router.platform.linux.sockets import icmp_socket, path_mtu
from router.platform.linux.streams import LinuxStreams
from router.platform.linux.tun import LinuxTun, open_tun
from router.platform.linux.undo import SYSCTL, Undoer
from router.platform.linux.way_out import give_default_route, loosen_rp_filter
from router.policy.capture import Route
from router.policy.network import Endpoint, Interface, Network
from router.policy.prefixes import format_prefix

NO_GENERATED_ADDRESS: Final = 1
"""IN6_ADDR_GEN_MODE_NONE: no link-local address, so no router solicitations from the TUN."""
LOOSE: Final = "2"
QUEUE: Final = 4096
"""Packets that the system may send before they are read. With the usual 500, a thousand programs
that connect at once lose half of their requests, and repeat them after a second."""
IFA_F_NODAD: Final = 0x02
"""Nobody else is on the link, and the address can be listened at without waiting."""


class LinuxSystem:
    """See System.

    offloads: whether the TUN may leave checksums and segmentation to us, and bytes may be spliced.
    Without, everything works the same, slower, as on a system that knows of neither.
    """

    def __init__(self, *, offloads: bool = True) -> None:
        self._netlink = IPRoute()
        self._undoer = Undoer()
        self._offloads = offloads
        self.interfaces: Interfaces = LinuxInterfaces()
        self.streams: Streams = LinuxStreams(splicing=offloads)

    def may_run(self) -> str | None:
        if os.geteuid() == 0:
            return None
        return "a TUN device and raw sockets need root"

    def open_tun(
        self, name: str | None, mtu: int, addresses: Sequence[IPv4Interface | IPv6Interface]
    ) -> TunDevice:
        if name is not None and self._netlink.link_lookup(ifname=name):
            raise PlatformError(
                f"there is already an interface {name}: end the program it belongs to, delete it "
                f"(ip link delete {name}), or choose another tun name"
            )
        tun = open_tun(name, mtu, self._offloads)
        try:
            self._configure(tun, addresses)
        except (NetlinkError, OSError) as error:
            tun.close()
            raise PlatformError(f"{tun.name} cannot be configured: {error}") from error
        return tun

    def add_routes(self, tun: TunDevice, routes: Sequence[Route]) -> None:
        add_routes(tun.index, routes)

    def keep(
        self,
        tun: TunDevice,
        addresses: Sequence[IPv4Interface | IPv6Interface],
        routes: Sequence[Route],
    ) -> list[str]:
        try:
            return [
                *self._keep_up(tun, addresses),
                *(format_prefix(*route[:3]) for route in keep_routes(tun.index, routes)),
            ]
        except (NetlinkError, OSError) as error:
            raise PlatformError(f"{tun.name} cannot be put right: {error}") from error

    def prepare_way_out(self, interface: Interface, tun: TunDevice) -> bool:
        try:
            loosened = loosen_rp_filter(interface.name, self._undoer)
            return give_default_route(self._netlink, interface, tun.index, self._undoer) or loosened
        except (NetlinkError, OSError) as error:
            raise PlatformError(f"{interface.name} cannot be made ready: {error}") from error

    def icmp_socket(self, version: int, interface: Interface, echo_ids: range) -> socket.socket:
        return icmp_socket(version, interface, echo_ids)

    def path_mtu(self, version: int, interface: Interface, address: str) -> int:
        return path_mtu(version, interface, address)

    def network(self) -> Network:
        return present_network()

    def raise_descriptor_limit(self) -> int:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        return most

    def udp_socket(self, version: int, interface: Interface, port: int) -> LinuxDatagramSocket:
        return udp_socket(version, interface, port)

    def endpoints(self) -> tuple[Endpoint, ...]:
        return present_endpoints()

    def control_socket(self, tun: TunDevice) -> socket.socket:
        return control_socket(tun.name, self._undoer)

    def watch(self) -> LinuxChanges:
        return LinuxChanges()

    def poller(self) -> LinuxPoller:
        return LinuxPoller()

    def lifeline(self) -> Undoer:
        return self._undoer

    def close(self) -> None:
        self._netlink.close()
        if not self._undoer.close():
            raise PlatformError("some changes could not be undone; the lines above name them")

    def _configure(self, tun: LinuxTun, addresses: Sequence[IPv4Interface | IPv6Interface]) -> None:
        """Addresses, MTU, up."""
        index = tun.index
        _loosen(tun)
        _set_sysctl(f"net/ipv6/conf/{tun.name}/disable_ipv6", "0")
        _set_sysctl(f"net/ipv6/conf/{tun.name}/addr_gen_mode", str(NO_GENERATED_ADDRESS))
        self._netlink.link("set", index=index, mtu=tun.mtu, txqlen=QUEUE)
        for address in addresses:
            self._add_address(index, address)
        self._netlink.link("set", index=index, state="up")

    def _add_address(self, index: int, address: IPv4Interface | IPv6Interface) -> None:
        self._netlink.addr(
            "add",
            index=index,
            address=str(address.ip),
            prefixlen=address.network.prefixlen,
            flags=IFA_F_NODAD if address.version == 6 else 0,
        )

    def _keep_up(
        self, tun: TunDevice, addresses: Sequence[IPv4Interface | IPv6Interface]
    ) -> Iterator[str]:
        """Addresses and up again; what was missing. A TUN that is gone is reported by itself."""
        present = self.interfaces.all().get(tun.name)
        if present is None or present.index != tun.index:
            raise PlatformError(f"{tun.name} is gone")
        _loosen(tun)
        for address in addresses:
            if address not in present.addresses:
                self._add_address(tun.index, address)
                yield str(address)
        if not present.up:
            self._netlink.link("set", index=tun.index, state="up")
            yield f"{tun.name} is up"


def _loosen(tun: TunDevice) -> None:
    """The TUN's own rp_filter: strict, it would drop answers by addresses that are not routed to
    it (a hop of a traceroute)."""
    _set_sysctl(f"net/ipv4/conf/{tun.name}/rp_filter", LOOSE)


def _set_sysctl(path: str, value: str) -> None:
    """Of the TUN, so gone with it. A kernel without IPv6 has no such file."""
    with contextlib.suppress(FileNotFoundError):
        (SYSCTL / path).write_text(value)
