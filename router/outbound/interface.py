"""A network interface as an outbound: the policies `direct` and `vpn`.

Always true: it has sockets for a family only while its interface is up and has an address of that
family that other networks can answer to; sockets are bound to the interface, so an interface that
comes back with another index gets new ones.

Must not know: which policies lead here, other outbounds.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Container, Iterator, Mapping
from functools import partial
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from router.config.interfaces import DEFAULT_INTERFACE
from router.flows.icmp import OUTSIDE_IDS
from router.outbound.base import ChangeWatcher, ChannelWatcher, Dial, DialRequest, ObstacleOf
from router.outbound.dial import SocketDial
from router.outbound.direct import DirectSender, DirectSenders
from router.outbound.icmp import SocketChannel, open_channel
from router.outbound.local_addresses import LocalAddresses
from router.outbound.reported import SocketErrors
from router.outbound.udp import SocketDatagrams, open_at_a_port
from router.platform.base.errors import PlatformError
from router.platform.base.facts import NetworkPath
from router.platform.base.system import System
from router.platform.reason import reason
from router.policy.interfaces import OutboundFacts, facts_of_interfaces, lack_of, usable_interfaces
from router.policy.network import Interface, Sources
from router.wire import icmp, ip

log = logging.getLogger(__name__)

Address = IPv4Address | IPv6Address

VERSIONS: Final = (4, 6)


class InterfaceOutbound:
    """See ManagedOutbound.

    wanted: the interface's name, or `default` for the one that holds the default route.
    tun: the name of our own device, which does not count as holding that route.
    addresses, senders: those of this machine, kept up to date by their owner.
    """

    def __init__(
        self,
        wanted: str,
        tun: str,
        system: System,
        addresses: LocalAddresses,
        senders: DirectSenders,
        channels: ChannelWatcher,
        loop: ChangeWatcher,
    ) -> None:
        self.wanted = wanted
        self._tun = tun
        self._system = system
        self._addresses = addresses
        self._senders = senders
        self._watcher = channels
        self._loop = loop
        self._interfaces: dict[int, Interface] = {}
        # The addresses of an interface, for each new flow.
        self._owned: dict[int, tuple[Interface | None, frozenset[bytes]]] = {}
        self._channels: dict[int, SocketChannel] = {}
        self._sources: Sources = {}
        self._refusal = ""
        self.queries = self._channels.get
        reports = system.sockets.reports_errors
        self._errors = None if reports else SocketErrors(loop.report_readable, self.owns)

    # What it is

    @property
    def up(self) -> bool:
        return bool(self._interfaces)

    @property
    def facts(self) -> OutboundFacts | None:
        return facts_of_interfaces(self._interfaces, self._sources)

    def owns(self, address: bytes) -> bool:
        version = 4 if len(address) == 4 else 6
        interface = self._interfaces.get(version)
        if interface is None:
            return False
        of, owned = self._owned.get(version, (None, frozenset()))
        if of is not interface:
            owned = frozenset(own.packed for own in sources(interface))
            self._owned[version] = interface, owned
        return address in owned

    @property
    def leaves_by(self) -> str | None:
        return ", ".join(sorted(self._names)) or None

    found = ()
    on_empty_end = None
    """The kernel has said so itself."""

    def describe(self) -> str:
        """`eth0 from 192.0.2.2`, or `default (eth0) from 192.0.2.2`."""
        sources = [str(each.source(version)) for version, each in sorted(self._interfaces.items())]
        names = self.leaves_by or ""
        name = f"{self.wanted} ({names})" if self.wanted == DEFAULT_INTERFACE else names
        return f"{name} from {', '.join(sources)}"

    def why_down(self) -> str:
        present = self._system.interfaces.all()
        if self._usable(present):
            return f"interface {self.wanted} cannot be used: {self._refusal}"
        return lack_of(self.wanted, present).clause(self.wanted)

    # What it carries

    def reaches(self, version: int) -> bool:
        return version in self._interfaces

    def carries(self, version: int, protocol: int) -> bool:
        return protocol in (ip.TCP, ip.UDP, icmp.protocol_of(version))

    def dial(self, request: DialRequest, changed: Callable[[int], None]) -> Dial:
        interface = self._interfaces[request.version]
        tcp = self._system.tcp
        return SocketDial(tcp, self._loop, interface, request, changed, self._errors)

    def open_datagrams(self, version: int, source: bytes, ports: Iterator[int]) -> SocketDatagrams:
        interface = self._interfaces[version]
        sock, port = open_at_a_port(self._system.sockets, version, interface, source, ports)
        if self._errors is None:
            return SocketDatagrams(sock, port)
        return self._errors.datagrams(sock, source, port)

    def sends_from(self, address: bytes) -> bool:
        return (
            self.owns(address)
            and self._senders.owns(address)
            and self._senders.interface(address) in self._names
        )

    def sender(self, version: int) -> DirectSender | None:
        if not self.reaches(version):
            return None
        return self._senders.leaving_by(self._names, version)

    def obstacle(self, of_interface: ObstacleOf) -> str | None:
        found = next(filter(None, map(of_interface, sorted(self._names))), None)
        return self._shared_address() if found is None else found

    def _shared_address(self) -> str | None:
        """Which of its addresses is sent from by another interface, in one clause."""
        for interface in self._interfaces.values():
            for address in sources(interface):
                if address.is_link_local or not self._addresses.has(address.packed):
                    continue
                owner = self._addresses.owners[address.packed].name
                if owner not in self._names:
                    return f"{address} is the address of {owner} as well"
        return None

    def path(self, version: int, address: str) -> NetworkPath:
        return self._system.facts.path(version, self._interfaces[version], address)

    def has_lost(self, sock: socket.socket) -> bool:
        """Its interface is gone for good, or its own address is: an outbound that is up without
        that address has got another in its place."""
        if self._system.tcp.has_lost_interface(sock):
            return True
        if (4 if sock.family == socket.AF_INET else 6) not in self._interfaces:
            return False
        address = sock.getsockname()[0].partition("%")[0]
        return self.has_lost_address(socket.inet_pton(sock.family, address))

    def has_lost_address(self, address: bytes) -> bool:
        return not self._addresses.has(address)

    @property
    def _names(self) -> set[str]:
        return {interface.name for interface in self._interfaces.values()}

    # Following the system

    def refresh(self, present: Mapping[str, Interface]) -> frozenset[int] | None:
        before = dict(self._interfaces)
        self._use(self._usable(present))
        self._sources = {
            (interface.name, version): self._system.facts.sources(version, interface)
            for version, interface in self._interfaces.items()
        }
        if self._interfaces == before:
            return None
        return lost_families(before, self._interfaces)

    def close(self) -> None:
        self._use({})

    def _usable(self, present: Mapping[str, Interface]) -> dict[int, Interface]:
        holders: dict[int, str | None] = {}
        if self.wanted == DEFAULT_INTERFACE:
            for version in VERSIONS:
                holders[version] = self._system.interfaces.holding_default(
                    version, present, self._tun
                )
        names = {self.wanted, *holders.values()}
        return usable_interfaces(self.wanted, self._with_sources(present, names), holders)

    def _with_sources(
        self, present: Mapping[str, Interface], names: Container[str | None]
    ) -> dict[str, Interface]:
        """Those that may be meant, with what the system's routes and rules say of their sources."""
        return {
            name: self._system.interfaces.with_sources(each)
            if name in names or self.wanted in each.alternative_names
            else each
            for name, each in present.items()
        }

    def _use(self, usable: Mapping[int, Interface]) -> None:
        """Open and close sockets until there are those for `usable`."""
        for version in VERSIONS:
            now, then = usable.get(version), self._interfaces.get(version)
            if now == then:
                if now is not None:
                    self._keep_prepared(now)
                continue
            if then is not None and (now is None or _needs_other_sockets(version, then, now)):
                self._close(version)
            if now is not None:
                self._interfaces[version] = now
                self._open(version)

    def _open(self, version: int) -> None:
        """Where that fails the outbound stays down: the interface may be gone again already."""
        interface = self._interfaces[version]
        try:
            self._system.routes.prepare_interface(interface)
            if version in self._channels:
                self._channels[version].mtu = interface.mtu
                return
            sock = self._system.sockets.icmp_socket(version, interface, OUTSIDE_IDS)
            path = partial(self._system.facts.path, version, interface)
            takes = _takes_nothing if self._errors is None else self._errors.take
            channel = open_channel(self, version, sock, interface.mtu, path, takes)
        except (PlatformError, OSError) as error:
            self._refusal = reason(error)
            log.warning("interface %s cannot be used: %s", interface.name, self._refusal)
            self._close(version)
            return
        self._channels[version] = channel
        self._watcher.opened(channel)

    def _keep_prepared(self, interface: Interface) -> None:
        """Another program may have undone what it needs without a change of the interface."""

        def done(changed: bool | PlatformError) -> None:
            if isinstance(changed, PlatformError):
                log.warning("interface %s cannot be kept prepared: %s", interface.name, changed)
            elif changed:
                log.warning(
                    "interface %s: another program has undone what its answers need; done again",
                    interface.name,
                )

        self._system.routes.request_prepare_interface(interface, done)

    def _close(self, version: int) -> None:
        del self._interfaces[version]
        channel = self._channels.pop(version, None)
        if channel is not None:
            self._watcher.closing(channel)
            channel.close()


def lost_families(
    before: Mapping[int, Interface], after: Mapping[int, Interface]
) -> frozenset[int]:
    """The families of which no flow can be answered any more: the interface is gone or replaced."""
    return frozenset(
        version
        for version, then in before.items()
        if version not in after or after[version].index != then.index
    )


def _takes_nothing(_packet: ip.Packet) -> bool:
    return False


def _needs_other_sockets(version: int, then: Interface, now: Interface) -> bool:
    return then.index != now.index or then.bound_source(version) != now.bound_source(version)


def sources(interface: Interface) -> Iterator[Address]:
    """Those that packets by an interface can have."""
    yield from (each.ip for each in interface.addresses)
    yield from interface.borrowed
