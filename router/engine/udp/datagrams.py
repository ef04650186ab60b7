"""UDP flows: which socket a datagram leaves by, and their lives.

    outbound    from the TUN, out by the channel of the mapping
    inbound     what the channel receives: datagrams, and errors about those that were sent
    sockets     channels, within a budget

Always true: the rules are evaluated once a flow; a flow that cannot be had is refused and no other
is touched for it (RFC 4787 REQ-11); nothing that arrives can raise.
"""

from __future__ import annotations

from typing import Any

from router.engine.refusals import Refusals
from router.engine.table_carrier import TableCarrier
from router.engine.tun_writer import TunWriter
from router.engine.udp.inbound import UdpInbound
from router.engine.udp.outbound import UdpOutbound
from router.engine.udp.sockets import MappingSockets, OutboundMapping
from router.flows.drops import Drop, Drops
from router.flows.nat.quoted import Quote
from router.flows.tally import Tally
from router.flows.udp.flow import Flow
from router.flows.udp.ports import outside_ports
from router.flows.udp.table import DatagramTable
from router.outbound.base import DatagramChannel, NatEndpoint, Outbound, source_towards
from router.platform.base.sockets import NetworkError
from router.platform.identifications import random_16_bits
from router.wire import ip, udp
from router.wire.headers import PORTS
from router.wire.icmp import Error


class Datagrams(TableCarrier):
    """The UDP flows of both families."""

    def __init__(
        self, writer: TunWriter, refusals: Refusals, drops: Drops, sockets: MappingSockets
    ) -> None:
        self._refusals = refusals
        self._drops = drops
        self._sockets = sockets
        self._table: DatagramTable[Outbound, DatagramChannel] = DatagramTable(
            sockets.limit, sockets.close
        )
        super().__init__([self._table])
        self._by_inside = self._table.by_inside
        self._inbound = UdpInbound(writer, drops, self._by_inside, refusals.peers)
        self._outbound = UdpOutbound(refusals, drops, self._inbound.read_error_queue)
        self._join = self._outbound.join
        self.flush = self._outbound.flush
        """Has to follow `carry_frame`, once for many."""

    def knows(self, key: bytes) -> bool:
        """Whether a datagram with these addresses and ports belongs to a flow."""
        return key in self._by_inside

    def flow(self, key: bytes) -> Flow[Outbound, DatagramChannel] | None:
        """The flow of datagrams with these addresses and ports from the inside."""
        return self._by_inside.get(key)

    def carry_frame(self, frame: bytearray, size: int, now: float) -> bool:
        """Carry the datagram that a frame from the TUN holds, if it belongs to a flow and is as
        datagrams usually are; else nothing has happened. `flush` follows.

        frame: its first `size` bytes; see router.wire.offload.
        """
        datagram = udp.framed(frame, size)
        if datagram is None or datagram[3] <= 1:
            return False
        flow = self._by_inside.get(datagram[0])
        if flow is None:
            return False
        self._join(flow, frame[datagram[1] : datagram[2]], datagram, now)
        return True

    def carry(self, packet: ip.Packet, now: float) -> bool:
        """Send a datagram that belongs to a flow; whether it does."""
        start = packet.payload
        key = packet.source + packet.destination + packet.data[start : start + PORTS]
        flow = self._by_inside.get(key)
        if flow is None or packet.is_fragment:
            return False
        payload = self._payload(packet)
        if payload is not None:
            self._outbound.send(packet, payload, flow, now)
        return True

    def begin(self, packet: ip.Packet, outbound: Outbound, tally: Tally, now: float) -> None:
        """Send the first datagram of a flow by an outbound that reaches its family."""
        payload = self._payload(packet)
        if payload is None:
            return
        _, port = _ports(packet)
        if self.has_sent(packet, outbound):
            self._drops.count(Drop.LOOP)
        elif not port:
            self._refusals.refuse(packet, Error.PORT_UNREACHABLE, Drop.UDP_REFUSED, now)
        else:
            address = (ip.format_address(packet.destination), port)
            outside_address = source_towards(outbound, packet.version, address[0])
            mapping = self._mapping(packet, outbound, outside_address, now)
            if mapping is not None:
                flow = self._table.begin(mapping, packet.destination, port, address, tally, now)
                self._outbound.send(packet, payload, flow, now)

    def has_sent(self, packet: ip.Packet, outbound: Outbound) -> bool:
        """Whether this is a datagram that we sent by `outbound` and that came back by the TUN."""
        start = packet.payload
        port = int.from_bytes(packet.data[start : start + 2], "big")
        return port in self._table.outside(outbound, packet.source)

    def host_unreachable(self, outbound: Outbound, error: ip.Packet, quote: Quote) -> None:
        """Deliver our own kernel's host-unreachable error, if a datagram of ours is quoted."""
        mapping = self._table.outside(outbound, quote.source).get(quote.source_port)
        if mapping is None:
            return
        start = error.payload
        reported = NetworkError(
            *(error.source, error.data[start], error.data[start + 1], 0),
            *(quote.destination, quote.destination_port),
            error.data[quote.upper + udp.HEADER :],
            error.hop_limit,
            error.traffic_class,
        )
        self._inbound.deliver_error(mapping, reported, error.source)

    def outside_of(self, quote: Quote) -> NatEndpoint | None:
        """The outside of the flow whose datagram a host inside quotes."""
        mapping = self._table.replied_to(
            quote.source, quote.source_port, quote.destination, quote.destination_port
        )
        if mapping is None:
            return None
        return NatEndpoint(mapping.outbound, mapping.outside_address, mapping.outside_port)

    def _is_lost(self, outbound: Outbound, flow: Any) -> bool:
        """Of some the channel alone knows."""
        return super()._is_lost(outbound, flow) or flow.mapping.socket.is_lost

    def close(self) -> None:
        for mapping in self._table.all():
            self._sockets.close(mapping.socket)

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

    def _mapping(
        self, packet: ip.Packet, outbound: Outbound, outside_address: bytes, now: float
    ) -> OutboundMapping | None:
        """The mapping of a packet's sender to an outside address, made if there is none; refused
        where it can't be."""
        source_port, _ = _ports(packet)
        endpoint = outbound, packet.source, source_port, outside_address
        mapping = self._table.mapping(*endpoint)
        if not self._table.has_room(packet.source, mapping, self._sockets.free):
            self._refusals.refuse(packet, Error.PROHIBITED, Drop.TABLE_FULL, now)
            return None
        if mapping is not None:
            return mapping
        taken = self._table.outside(outbound, outside_address)
        ports = outside_ports(source_port, random_16_bits(), taken)
        try:
            sock = self._sockets.open(outbound, packet.version, outside_address, ports)
        except OSError:
            self._refusals.refuse(packet, Error.PROHIBITED, Drop.TABLE_FULL, now)
            return None
        opened = self._table.open(*endpoint, sock.port, sock)
        self._sockets.watch(sock, lambda now: self._inbound.receive(opened, now))
        return opened


def _ports(packet: ip.Packet) -> tuple[int, int]:
    """Source and destination port of a datagram whose header is whole."""
    data, start = packet.data, packet.payload
    return data[start] << 8 | data[start + 1], data[start + 2] << 8 | data[start + 3]
