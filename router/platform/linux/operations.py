"""What needs privileges, as the guard does it for the router.

Always true: an operation does what its arguments say and nothing with their text; it can change
the TUN that it has made itself, routes by that TUN, and of other interfaces only what lets answers
in. Before whatever does not go with the TUN, how to undo it is written down (`undoer`).

Must not know: rules, flows, packets; who asks.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_interface

from pyroute2.iproute.linux import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from router.platform.base import PlatformError, ReconcileResult
from router.platform.families import FAMILY
from router.platform.linux.channel import Message
from router.platform.linux.control_socket import control_socket
from router.platform.linux.datagrams import BUFFER
from router.platform.linux.endpoints import EndpointMemory
from router.platform.linux.holders import tun_holder
from router.platform.linux.interfaces import LinuxInterfaces
from router.platform.linux.journal import SUFFIX
from router.platform.linux.leftovers import clean_up
from router.platform.linux.netlink.batch import add_routes
from router.platform.linux.prepared_interface import give_default_route, loosen_rp_filter
from router.platform.linux.present import present_endpoints
from router.platform.linux.reconcile import keep_routes, present_routes
from router.platform.linux.reread import Program
from router.platform.linux.runtime import TRIES, make_runtime_directory, remedy
from router.platform.linux.sockets import enlarge_buffers, icmp_socket, passing_socket
from router.platform.linux.streams import listening_socket
from router.platform.linux.tun import open_tun
from router.platform.linux.tun_interface.interface import TunInterface
from router.platform.linux.undoer import Undoer
from router.policy.capture import Route
from router.policy.prefixes import format_prefix


class Operations:
    """All of them, for one TUN. Each raises PlatformError or OSError.

    program: reads the rules anew.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self._netlink = IPRoute()
        self._undoer: Undoer | None = None
        self._name = ""
        self._index = 0
        self._interface: TunInterface | None = None
        self._routes: list[Route] = []
        self._endpoints = EndpointMemory()
        self.by_name: Mapping[str, Callable[..., Message]] = {
            "open_tun": self.open_tun,
            "add_routes": self.add_routes,
            "keep": self.keep,
            "prepare_way_out": self.prepare_interface,
            "icmp_socket": self.icmp_socket,
            "passing_socket": self.passing_socket,
            "listening_socket": self.listening_socket,
            "udp_sockets": self.udp_sockets,
            "endpoints": self.endpoints,
            "control_socket": self.control_socket,
            "read_anew": self.start_reread,
        }

    @property
    def undoer(self) -> Undoer | None:
        """Who undoes what they have done, once there can be something."""
        return self._undoer

    def open_tun(
        self, name: str | None, mtu: int, addresses: Sequence[str], *, offloads: bool
    ) -> Message:
        """A TUN with its addresses, up: what LinuxTun is to know of it, what had been left of
        former runs and what has become of it, and the descriptor, which is kept nowhere else."""
        if self._undoer is not None:
            raise PlatformError(f"there is a TUN device already, {self._name}")
        leftovers = list(clean_up())
        if name is not None and self._netlink.link_lookup(ifname=name):
            raise PlatformError(_whose(name))
        _demand_free(addresses)
        tun = open_tun(name, mtu, offloads)
        self._name, self._index = tun.name, tun.index
        try:
            self._undoer = _undoer(tun.name)
            self._interface = TunInterface(
                self._netlink, tun, [ip_interface(each) for each in addresses]
            )
            self._interface.configure()
        except PlatformError:
            tun.close()
            raise
        except (NetlinkError, OSError) as error:
            tun.close()
            raise PlatformError(f"{tun.name} cannot be configured: {error}") from error
        return Message(({"name": tun.name, "offloads": tun.offloads}, leftovers), [tun.fileno()])

    def add_routes(self, routes: Sequence[Sequence[int]]) -> Message:
        """Send the prefixes to the TUN."""
        if self._interface is None:
            raise PlatformError("there is no TUN device yet")
        self._interface.address_routes.learn()
        self._routes = [Route(*route) for route in routes]
        add_routes(self._index, self._routes)
        return Message(None)

    def keep(self, routes: Sequence[Sequence[int]] | None) -> Message:
        """See System.keep; None means the routes of last time."""
        if routes is not None:
            self._routes = [Route(*route) for route in routes]
        if self._interface is None:
            raise PlatformError("there is no TUN device yet")
        try:
            kept = self._interface.restore()
        except (NetlinkError, OSError) as error:
            raise PlatformError(f"{self._name} cannot be looked at: {error}") from error
        refused: list[str] = []
        for version in FAMILY:
            try:
                self._keep_routes(self._interface, version, kept)
            except (PlatformError, OSError) as error:
                impaired = version in self._interface.impaired
                (kept.failed if impaired else refused).append(f"IPv{version} routes ({error})")
        if refused:
            raise PlatformError("; ".join(refused))
        return Message(kept)

    def prepare_interface(self, name: str, index: int, *, routed: bool) -> Message:
        """See System.prepare_way_out. `routed`: whether IPv6 packets have to find a route."""
        _demand(name, index)
        undoer = self._written_down()
        try:
            done = loosen_rp_filter(name, undoer)
            if routed:
                done |= give_default_route(self._netlink, name, index, self._index, undoer)
        except (NetlinkError, OSError) as error:
            raise PlatformError(f"{name} cannot be made ready: {error}") from error
        return Message(done)

    def icmp_socket(self, version: int, name: str, first_id: int, after_last: int) -> Message:
        return _handed_over(icmp_socket(version, name, range(first_id, after_last)))

    def passing_socket(self, version: int, name: str) -> Message:
        return _handed_over(passing_socket(version, name))

    def listening_socket(self, address: str) -> Message:
        return _handed_over(listening_socket(self._name, self._index, address))

    def udp_sockets(self, version: int, number: int) -> Message:
        """Sockets with larger buffers than everybody may have, not bound to anything yet."""
        sockets = [socket.socket(FAMILY[version], socket.SOCK_DGRAM) for _ in range(number)]
        for sock in sockets:
            enlarge_buffers(sock, BUFFER)
        return _handed_over(*sockets)

    def endpoints(self) -> Message:
        return Message(present_endpoints(self._endpoints))

    def control_socket(self) -> Message:
        return _handed_over(control_socket(self._name, self._written_down()))

    def start_reread(self) -> Message:
        """See System.read_anew."""
        return Message(None, [self.program.start()])

    def _written_down(self) -> Undoer:
        if self._undoer is None:
            raise PlatformError("there is no TUN device yet")
        return self._undoer

    def _keep_routes(self, interface: TunInterface, version: int, kept: ReconcileResult) -> None:
        """Of one family. Raises OSError, PlatformError."""
        present = present_routes(self._index, version)
        interface.address_routes.restore(version, present.kernel, kept)
        wanted = [route for route in self._routes if route.version == version]
        for route in keep_routes(self._index, wanted, present):
            kept.restored.append(format_prefix(*route[:3]))


def _undoer(tun: str) -> Undoer:
    """A former run that ends may remove the directory before the file is in it. Raises
    PlatformError."""
    try:
        for _ in range(TRIES):
            with contextlib.suppress(FileNotFoundError):
                return Undoer(make_runtime_directory() / (tun + SUFFIX))
        return Undoer(make_runtime_directory() / (tun + SUFFIX))
    except OSError as error:
        raise PlatformError(
            f"what is to be undone in the end cannot be written down: {error}: {remedy(error)}"
        ) from error


def _handed_over(*sockets: socket.socket) -> Message:
    return Message(None, [sock.detach() for sock in sockets])


def _demand(name: str, index: int) -> None:
    """Raises PlatformError if there is no such interface (any more)."""
    try:
        found = socket.if_nametoindex(name)
    except OSError:  # which has no number
        found = 0
    if found != index:
        raise PlatformError(f"there is no interface {name} any more")


def _demand_free(addresses: Sequence[str]) -> None:
    """Two TUNs with one address, as of two routers with the same rules, would both be useless."""
    wanted = {ip_interface(address).ip for address in addresses}
    for interface in LinuxInterfaces().all().values():
        for held in interface.addresses:
            if held.ip in wanted:
                raise PlatformError(
                    f"{held.ip} is already an address of {interface.name}"
                    f"{_by_whom(interface.name)}, or choose another 'address' in 'tun'"
                )


def _by_whom(name: str) -> str:
    holder = tun_holder(name)
    if holder is None:
        return ": remove it there"
    return f", in use by pid {holder.pid}, {holder.program}: stop it (kill {holder.pid})"


def _whose(name: str) -> str:
    """Why a TUN of this name cannot be made, when there is an interface already."""
    holder = tun_holder(name)
    if holder is not None:
        return (
            f"{name} is in use by pid {holder.pid}, {holder.program}: stop it "
            f"(kill {holder.pid}), or choose another tun name"
        )
    return (
        f"there is already an interface {name}: end the program it belongs to, delete it "
        f"(ip link delete {name}), or choose another tun name"
    )
