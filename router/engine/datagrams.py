"""UDP on its way: out by the sockets of the ways out, their answers and errors back.

Always true: an ICMP error is handed in as one about the datagram that the application sent, and
neither begins, refreshes nor ends anything (RFC 4787 REQ-12); a flow that cannot be had is refused
and no other is touched for it; nothing that arrives can raise.
"""

from __future__ import annotations

import secrets
from ipaddress import ip_address
from typing import Final

from router.egress.udp import UdpEgress, UdpSockets
from router.egress.ways import WayOut
from router.engine.inside import Inside
from router.engine.queries import SEND_ERRORS
from router.engine.refusals import Refusals
from router.flows.drops import Drop, Drops
from router.flows.udp import DatagramTable, Flow, Mapping, Sender, outside_ports
from router.platform.base import NetworkError, Received
from router.wire import icmp, ip, udp
from router.wire.icmp import Error

BUDGET: Final = 64
"""Datagrams from one socket before the others have their turn."""
IDENTIFICATIONS: Final = 0x10000
OWN_ERROR_HOP_LIMIT: Final = 64

Link = Mapping[WayOut, UdpEgress]
DatagramFlow = Flow[WayOut, UdpEgress]


class Datagrams:
    """The UDP flows of both families."""

    def __init__(
        self, inside: Inside, refusals: Refusals, drops: Drops, sockets: UdpSockets
    ) -> None:
        self._inside = inside
        self._refusals = refusals
        self._drops = drops
        self._sockets = sockets
        self._table: DatagramTable[WayOut, UdpEgress] = DatagramTable(sockets.limit)
        self._identification = secrets.randbelow(IDENTIFICATIONS)

    def __len__(self) -> int:
        return len(self._table)

    def carry(self, packet: ip.Packet, now: float) -> bool:
        """Send a datagram that belongs to a flow; whether it does."""
        start = packet.payload
        key = packet.source + packet.destination + packet.data[start : start + udp.PORTS]
        flow = self._table.by_inside.get(key)
        if flow is None or packet.is_fragment:
            return False
        payload = self._payload(packet)
        if payload is not None:
            self._send(packet, payload, flow, now)
        return True

    def begin(self, packet: ip.Packet, way: WayOut, rule: int, now: float) -> None:
        """Send the first datagram of a flow by a way out that has its family."""
        payload = self._payload(packet)
        if payload is None:
            return
        source_port, port = _ports(packet)
        if self._is_our_own(packet, source_port, way):
            self._drops.count(Drop.LOOP)
        elif not port:
            self._refusals.refuse(packet, Error.PORT_UNREACHABLE, Drop.UDP_REFUSED, now)
        else:
            mapping = self._mapping(packet, source_port, way, now)
            if mapping is not None:
                address = (ip.format_address(packet.destination), port)
                flow = self._table.begin(mapping, packet.destination, port, address, rule, now)
                self._send(packet, payload, flow, now)

    def receive(self, mapping: Link, now: float) -> None:
        """Hand in what the socket of a mapping has, a bounded number of datagrams and errors."""
        receive = mapping.socket.receive
        for _ in range(BUDGET):
            try:
                received = receive()
            except OSError:
                # Nothing is left, or an error has been reported: some are told in no other way.
                self._take_errors(mapping)
                return
            self._answer(mapping, received, now)

    def expire(self, now: float) -> None:
        """End what has been idle for too long."""
        for mapping in self._table.expire(now):
            self._sockets.close(mapping.socket)

    def forget(self, way: WayOut) -> None:
        """End the flows of a way out that has changed; their next datagram asks the rules anew."""
        for mapping in self._table.remove(way):
            self._sockets.close(mapping.socket)

    def close(self) -> None:
        for mapping in self._table.all():
            self._sockets.close(mapping.socket)

    # Out

    def _payload(self, packet: ip.Packet) -> bytes | None:
        """What the datagram carries, or None, counted, if it is damaged."""
        size = udp.length(packet)
        if size is None:
            self._drops.count(Drop.MALFORMED)
            return None
        if not udp.has_valid_checksum(packet, size):
            self._drops.count(Drop.BAD_CHECKSUM)
            return None
        return packet.data[packet.payload + udp.HEADER : packet.payload + size]

    def _is_our_own(self, packet: ip.Packet, source_port: int, way: WayOut) -> bool:
        """Whether this is a datagram that we sent by `way` and that came back by the TUN."""
        outside = self._table.outside(way, packet.version)
        return source_port in outside and way.owns(packet.source)

    def _mapping(self, packet: ip.Packet, source_port: int, way: WayOut, now: float) -> Link | None:
        """The mapping of a packet's sender, made if there is none; refused where it can't be."""
        mapping = self._table.mapping(way, packet.source, source_port)
        if not self._table.has_room(mapping):
            self._refusals.refuse(packet, Error.PROHIBITED, Drop.TABLE_FULL, now)
            return None
        if mapping is not None:
            return mapping
        taken = self._table.outside(way, packet.version)
        ports = outside_ports(source_port, secrets.randbits(16), taken)
        try:
            egress = self._sockets.open(way, packet.version, ports)
        except OSError:
            self._refusals.refuse(packet, Error.PROHIBITED, Drop.TABLE_FULL, now)
            return None
        opened = self._table.open(way, packet.source, source_port, egress.port, egress)
        self._sockets.watch(egress, lambda now: self.receive(opened, now))
        return opened

    def _send(self, packet: ip.Packet, payload: bytes, flow: DatagramFlow, now: float) -> None:
        """An error that was reported since the last call is raised in place of sending, once."""
        flow.remote.last_out = now
        flow.size = len(payload) + udp.HEADER
        mapping = flow.mapping
        try:
            self._send_now(packet, payload, flow)
        except BlockingIOError:
            self._drops.count(Drop.NO_BUFFER)
        except OSError as error:
            told = self._take_errors(mapping)
            if told.reported:
                self._send_again(packet, payload, flow, now)
            else:
                self._refuse(packet, flow, error, told.mtu, now)

    def _send_again(
        self, packet: ip.Packet, payload: bytes, flow: DatagramFlow, now: float
    ) -> None:
        try:
            self._send_now(packet, payload, flow)
        except BlockingIOError:
            self._drops.count(Drop.NO_BUFFER)
        except OSError as error:
            told = self._take_errors(flow.mapping)
            self._refuse(packet, flow, error, told.mtu, now)

    def _send_now(self, packet: ip.Packet, payload: bytes, flow: DatagramFlow) -> None:
        egress = flow.mapping.socket
        hop_limit, traffic_class = packet.hop_limit - 1, packet.traffic_class
        dont_fragment = packet.dont_fragment
        if not egress.sends_with(hop_limit, traffic_class, dont_fragment):
            egress.send_with(hop_limit, traffic_class, dont_fragment)
        egress.send(payload, flow.address)
        flow.mapping.way.packets_out += 1

    def _refuse(
        self, packet: ip.Packet, flow: DatagramFlow, error: OSError, mtu: int, now: float
    ) -> None:
        """Tell the sender what the kernel says of its datagram. mtu: of the path, or 0."""
        what, reason = SEND_ERRORS.get(error.errno or 0, (None, Drop.NO_BUFFER))
        if what is None:
            self._drops.count(reason)
            return
        value = 0
        if what is Error.TOO_BIG:
            value = mtu or flow.mapping.way.icmp[packet.version].path_mtu(str(flow.address[0]))
        self._refusals.refuse(packet, what, reason, now, value)

    # Back

    def _answer(self, mapping: Link, received: Received, now: float) -> None:
        payload, address, hop_limit, traffic_class = received
        sender = mapping.senders.get(address) or self._admit(mapping, address)
        if sender is None:
            self._drops.count(Drop.FILTERED)
        elif hop_limit <= 1:
            self._drops.count(Drop.HOP_LIMIT)
        else:
            sender.remote.last_in = now
            mapping.way.packets_in += 1
            self._identification = (self._identification + 1) % IDENTIFICATIONS
            self._inside.hand_in(
                sender.envelope.seal(
                    payload, hop_limit - 1, traffic_class, self._identification or 1
                )
            )

    def _admit(
        self, mapping: Link, address: tuple[object, ...]
    ) -> Sender[WayOut, UdpEgress] | None:
        packed, port = _endpoint(address)
        return mapping.admit(address, packed, port)

    def _take_errors(self, mapping: Link) -> Told:
        """Hand in what the network has reported about datagrams of a mapping."""
        told = Told()
        for error in mapping.socket.errors():
            if error.offender is not None:
                told.reported = True
                self._hand_in_error(mapping, error, error.offender)
            elif error.value:
                told.mtu = error.value
        return told

    def _hand_in_error(self, mapping: Link, error: NetworkError, offender: bytes) -> None:
        """What our own kernel says comes from an address of ours, which it would not accept out of
        the TUN: then the router says so."""
        destination, port = _endpoint(error.destination)
        remote = mapping.remotes.get(destination)
        flow = remote and next((flow for flow in remote.flows if flow.port == port), None)
        if not flow:
            self._drops.count(Drop.NO_BINDING)
            return
        hop_limit = error.hop_limit - 1
        if mapping.way.owns(offender):
            offender = self._refusals.peers.get(mapping.version, offender)
            hop_limit = OWN_ERROR_HOP_LIMIT
        if hop_limit < 1:
            self._drops.count(Drop.HOP_LIMIT)
            return
        value = error.value
        if mapping.version == 4 and error.kind == icmp.PARAMETER_PROBLEM:
            value <<= 24
        size = max(flow.size, udp.HEADER + len(error.payload))
        envelope = udp.Envelope(mapping.source, mapping.port, destination, port)
        message = icmp.Message(error.kind, error.code, value)
        self._inside.hand_in(
            envelope.error(offender, message, error.payload, size, hop_limit, error.traffic_class)
        )


class Told:
    """What a socket's error queue held: whether the network reported something, and the path's MTU
    if the kernel refused a datagram by it."""

    __slots__ = ("mtu", "reported")

    def __init__(self) -> None:
        self.reported = False
        self.mtu = 0


def _ports(packet: ip.Packet) -> tuple[int, int]:
    """Source and destination port of a datagram whose header is whole."""
    data, start = packet.data, packet.payload
    return data[start] << 8 | data[start + 1], data[start + 2] << 8 | data[start + 3]


def _endpoint(address: tuple[object, ...]) -> tuple[bytes, int]:
    """Address and port of an endpoint as sockets have it."""
    host, port = address[:2]
    assert isinstance(host, str)
    assert isinstance(port, int)
    return ip_address(host.partition("%")[0]).packed, port
