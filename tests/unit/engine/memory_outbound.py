"""An outbound without an interface: what is sent by it stays in memory, and a test takes the
role of the far end."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_address
from typing import Any, Protocol, cast

from router.flows.icmp import Binding
from router.flows.nat import translate
from router.outbound.base import DatagramChannel, Dial, DialRequest, ObstacleOf, Outbound
from router.outbound.direct import DirectSender, DirectSenders
from router.outbound.udp import SocketDatagrams, open_at_a_port
from router.platform.base.facts import NetworkPath
from router.policy.interfaces import OutboundFacts
from router.policy.network import Interface
from router.wire import ip
from tests.unit.engine.udp.memory import MemorySystem

PATH_MTU = 1300


class MemoryChannel:
    """See QueryChannel. `error` is raised by the next send."""

    def __init__(self, version: int, outbound: Outbound) -> None:
        self.version = version
        self.outbound = outbound
        self.sent: list[tuple[ip.Packet, int]] = []
        self.errors: list[tuple[bytes, str]] = []
        self.error: OSError | None = None

    def fileno(self) -> int:
        raise AssertionError("memory is not polled")

    def send(
        self,
        query: bytes | bytearray,
        start: int,
        binding: Binding[Any],
        *,
        reassembled: bool = False,
    ) -> None:
        if self.error:
            error, self.error = self.error, None
            raise error
        if self.version == 4:
            translate.request_v4(
                query, start, binding.outside_address, binding.inside_id, binding.outside_id
            )
        else:
            translate.request_v6(query, start, binding.outside_id)
        packet = ip.parse(bytes(query))
        packet.reassembled = reassembled
        self.sent.append((packet, binding.outside_id))

    def send_error(self, packet: bytes, address: str) -> None:
        self.errors.append((packet, address))

    def receive(self) -> ip.Packet:
        raise BlockingIOError

    def close(self) -> None:
        pass


Owners = Callable[[], Mapping[bytes, Interface]]


class Dials(Protocol):
    """Opens connections in memory; see tests.unit.engine.tcp.memory."""

    def dial(self, request: DialRequest, changed: Callable[[int], None]) -> Dial: ...


class MemoryOutbound:
    """See ManagedOutbound. own: its addresses by IP version; without any it is down. interfaces:
    those that its packets leave by. owners: the interfaces by local address."""

    def __init__(
        self,
        name: str,
        own: Mapping[int, str],
        udp: MemorySystem,
        tcp: Dials,
        owners: Owners = dict,
    ) -> None:
        self.name = name
        self.interfaces: list[str] = []
        self.senders: DirectSenders | None = None
        self._owners = owners
        self.own = {version: ip_address(address).packed for version, address in own.items()}
        self.protocols = {ip.TCP, ip.UDP, ip.ICMP, ip.ICMPV6}
        self.channels = {version: MemoryChannel(version, self) for version in own}
        self.dial = tcp.dial
        self.queries = self.channels.get
        self.path = self._path
        self.open_datagrams = self._open_datagrams
        self._udp = udp

    @property
    def up(self) -> bool:
        return bool(self.own)

    @property
    def facts(self) -> OutboundFacts | None:
        return OutboundFacts(1500, self.interfaces) if self.up else None

    def reaches(self, version: int) -> bool:
        return version in self.own

    def carries(self, version: int, protocol: int) -> bool:
        return protocol in self.protocols

    def _open_datagrams(self, version: int, source: bytes, ports: Iterator[int]) -> DatagramChannel:
        interface = cast(Interface, self)
        return SocketDatagrams(*open_at_a_port(self._udp, version, interface, source, ports))

    def _path(self, version: int, address: str) -> NetworkPath:
        return NetworkPath(PATH_MTU, self.own[version])

    def owns(self, address: bytes) -> bool:
        return address in self.own.values()

    def sends_from(self, address: bytes) -> bool:
        owner = self._owners().get(address)
        return self.owns(address) and owner is not None and owner.name in self.interfaces

    def sender(self, version: int) -> DirectSender | None:
        assert self.senders is not None
        return self.senders.leaving_by(self.interfaces, version)

    def obstacle(self, of_interface: ObstacleOf) -> str | None:
        return next(filter(None, map(of_interface, self.interfaces)), None)

    @property
    def leaves_by(self) -> str | None:
        return ", ".join(self.interfaces) if self.up and self.interfaces else None

    def has_lost(self, sock: socket.socket) -> bool:
        return not self.up

    def has_lost_address(self, address: bytes) -> bool:
        return not self.owns(address)

    found = ()
    on_empty_end = None

    def describe(self) -> str:
        return self.name

    def why_down(self) -> str:
        return f"{self.name} is not there"

    def refresh(self, present: Mapping[str, Interface]) -> frozenset[int] | None:
        return None

    def close(self) -> None:
        self.own = {}
        self.channels.clear()
