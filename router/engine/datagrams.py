"""UDP on its way: out by the sockets of the ways out, their answers and errors back.

Always true: an ICMP error is handed in as one about the datagram that the application sent, and
neither begins, refreshes nor ends anything (RFC 4787 REQ-12); a flow that cannot be had is refused
and no other is touched for it; nothing that arrives can raise.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final

from router.egress.udp import UdpEgress, UdpSockets
from router.egress.ways import WayOut
from router.engine.inside import Inside
from router.engine.queries import SEND_ERRORS
from router.engine.refusals import Refusals
from router.flows.drops import Drop, Drops
from router.flows.udp import DatagramTable, Flow, Mapping, Sender, flow_key, outside_ports
from router.platform.base import Arrived, Bytes, NetworkError
from router.wire import icmp, ip, udp
from router.wire.icmp import Error

IDENTIFICATIONS: Final = 0x10000
OWN_ERROR_HOP_LIMIT: Final = 64
MOST_BYTES: Final = 65_000
"""Of payload in one run: whole it has to fit in one packet, headers included."""

Link = Mapping[WayOut, UdpEgress]
DatagramFlow = Flow[WayOut, UdpEgress]


class Run:
    """Datagrams of one flow that left one behind the other with the same fields and length.

    room: how many more there may be.
    """

    __slots__ = (
        "count",
        "dont_fragment",
        "flow",
        "hop_limit",
        "payloads",
        "room",
        "size",
        "traffic_class",
    )

    def __init__(
        self,
        flow: DatagramFlow,
        payload: bytes | bytearray,
        hop_limit: int,
        traffic_class: int,
        dont_fragment: int,
    ) -> None:
        self.flow = flow
        self.payloads = payload
        self.size = len(payload)
        self.count = 1
        self.hop_limit = hop_limit
        self.traffic_class = traffic_class
        self.dont_fragment = dont_fragment
        self.room = 0


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
        self._by_inside = self._table.by_inside
        self._run: Run | None = None
        self._identification = secrets.randbelow(IDENTIFICATIONS)

    def __len__(self) -> int:
        return len(self._table)

    def carry_frame(self, frame: bytearray, size: int, now: float) -> bool:
        """Carry the datagram that a frame from the TUN holds, if it belongs to a flow and is as
        datagrams usually are; else nothing has happened. `flush` follows.

        frame: its first `size` bytes; see router.wire.offload.
        """
        datagram = udp.framed(frame, size)
        if datagram is None:
            return False
        key, start, end, hop_limit, traffic_class, dont_fragment = datagram
        flow = self._by_inside.get(key)
        if flow is None or hop_limit <= 1:
            return False
        run = self._run
        if (
            run is not None
            and run.room
            and run.flow is flow
            and end - start == run.size
            and hop_limit == run.hop_limit
            and traffic_class == run.traffic_class
            and dont_fragment == run.dont_fragment
        ):
            run.payloads += frame[start:end]
            run.count += 1
            run.room -= 1
            return True
        self.flush(now)
        run = Run(flow, frame[start:end], hop_limit, traffic_class, dont_fragment)
        if run.size:
            run.room = min(flow.mapping.socket.most_segments, MOST_BYTES // run.size) - 1
        self._run = run
        return True

    def flush(self, now: float) -> None:
        """Send what has been carried so far and may have waited for more of its kind."""
        run = self._run
        if run is not None:
            self._run = None
            self._send(run, now)

    def carry(self, packet: ip.Packet, now: float) -> bool:
        """Send a datagram that belongs to a flow; whether it does."""
        start = packet.payload
        key = packet.source + packet.destination + packet.data[start : start + udp.PORTS]
        flow = self._by_inside.get(key)
        if flow is None or packet.is_fragment:
            return False
        payload = self._payload(packet)
        if payload is not None:
            self._send_packet(packet, payload, flow, now)
        return True

    def begin(self, packet: ip.Packet, way: WayOut, rule: int, now: float) -> None:
        """Send the first datagram of a flow by a way out that has its family."""
        payload = self._payload(packet)
        if payload is None:
            return
        source_port, port = _ports(packet)
        if self.has_sent(packet, way):
            self._drops.count(Drop.LOOP)
        elif not port:
            self._refusals.refuse(packet, Error.PORT_UNREACHABLE, Drop.UDP_REFUSED, now)
        else:
            mapping = self._mapping(packet, source_port, way, now)
            if mapping is not None:
                address = (ip.format_address(packet.destination), port)
                flow = self._table.begin(mapping, packet.destination, port, address, rule, now)
                self._send_packet(packet, payload, flow, now)

    def has_sent(self, packet: ip.Packet, way: WayOut) -> bool:
        """Whether this is a datagram that we sent by `way` and that came back by the TUN."""
        outside = self._table.outside(way, packet.version)
        start = packet.payload
        port = int.from_bytes(packet.data[start : start + 2], "big")
        return port in outside and way.owns(packet.source)

    def receive(self, mapping: Link, now: float) -> None:
        """Hand in what the socket of a mapping has, a bounded number of datagrams or errors."""
        try:
            all_arrived = mapping.socket.receive()
        except OSError:
            # Nothing is there, or an error has been reported: some are told in no other way.
            self._take_errors(mapping)
            return
        for arrived in all_arrived:
            self._answer(mapping, arrived, now)

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

    def _send_packet(
        self, packet: ip.Packet, payload: bytes, flow: DatagramFlow, now: float
    ) -> None:
        """Behind all that has been carried before."""
        self.flush(now)
        dont_fragment = packet.dont_fragment * ip.DONT_FRAGMENT
        run = Run(flow, payload, packet.hop_limit, packet.traffic_class, dont_fragment)
        self._send(run, now)

    def _send(self, run: Run, now: float) -> None:
        """An error that was reported since the last call is raised in place of sending, once."""
        flow = run.flow
        flow.remote.last_out = now
        flow.size = run.size + udp.HEADER
        try:
            self._send_now(run)
        except BlockingIOError:
            for _ in range(run.count):
                self._drops.count(Drop.NO_BUFFER)
        except OSError as error:
            told = self._take_errors(flow.mapping)
            if told.reported or run.count > 1:
                self._send_each(run, now)
            else:
                self._refuse(run, error, told.mtu, now)

    def _send_each(self, run: Run, now: float) -> None:
        """Once more, and one by one, so that each has its own error."""
        for at in range(run.count):
            payload = run.payloads[at * run.size : (at + 1) * run.size]
            one = Run(run.flow, payload, run.hop_limit, run.traffic_class, run.dont_fragment)
            try:
                self._send_now(one)
            except BlockingIOError:
                self._drops.count(Drop.NO_BUFFER)
            except OSError as error:
                told = self._take_errors(run.flow.mapping)
                self._refuse(one, error, told.mtu, now)

    def _send_now(self, run: Run) -> None:
        flow = run.flow
        egress = flow.mapping.socket
        hop_limit = run.hop_limit - 1
        if not egress.sends_with(hop_limit, run.traffic_class, run.dont_fragment):
            egress.send_with(hop_limit, run.traffic_class, run.dont_fragment)
        if run.count == 1:
            egress.send(run.payloads, flow.address)
        else:
            egress.send_run(run.payloads, run.size, flow.address)
        flow.mapping.way.packets_out += run.count

    def _refuse(self, run: Run, error: OSError, mtu: int, now: float) -> None:
        """Tell the sender what the kernel says of its datagram. mtu: of the path, or 0."""
        what, reason = SEND_ERRORS.get(error.errno or 0, (None, Drop.NO_BUFFER))
        if what is None:
            self._drops.count(reason)
            return
        flow = run.flow
        way, version = flow.mapping.way, flow.mapping.version
        value = 0
        if what is Error.TOO_BIG:
            value = mtu or way.icmp[version].path_mtu(flow.address[0])
        packet = flow.envelope.seal(
            run.payloads, run.hop_limit, run.traffic_class, dont_fragment=run.dont_fragment
        )
        self._refusals.refuse(ip.parse(packet), what, reason, now, value)

    # Back

    def _answer(self, mapping: Link, arrived: Arrived, now: float) -> None:
        name, payloads, hop_limit, traffic_class = arrived
        number = len(payloads)
        sender = mapping.senders.get(name) or self._admit(mapping, name)
        if sender is None or hop_limit <= 1:
            for _ in range(number):
                self._drops.count(Drop.FILTERED if sender is None else Drop.HOP_LIMIT)
            return
        sender.remote.last_in = now
        mapping.way.packets_in += number
        identification = self._identification
        self._identification = (identification + number) % IDENTIFICATIONS
        if number > 1 and self._inside.takes_runs and self._may_be_a_run(mapping, payloads):
            most = min(mapping.socket.most_segments, MOST_BYTES // len(payloads[0]))
            for at in range(0, number, most):
                parts = sender.envelope.run(
                    payloads[at : at + most], hop_limit - 1, traffic_class, identification
                )
                if not self._inside.hand_in_run(parts):
                    break
            else:
                return
            payloads = payloads[at:]
        for payload in payloads:
            identification = (identification + 1) % IDENTIFICATIONS or 1
            self._inside.hand_in(
                sender.envelope.seal(payload, hop_limit - 1, traffic_class, identification)
            )

    def _may_be_a_run(self, mapping: Link, payloads: Sequence[Bytes]) -> bool:
        """None may be empty, and each has to fit in the TUN's MTU."""
        header = (ip.IPV4_HEADER if mapping.version == 4 else ip.IPV6_HEADER) + udp.HEADER
        return len(payloads[-1]) > 0 and len(payloads[0]) + header <= self._inside.mtu

    def _admit(self, mapping: Link, name: bytes) -> Sender[WayOut, UdpEgress] | None:
        address, port = mapping.socket.endpoint(name)
        return mapping.admit(name, address, port)

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
        key = flow_key(mapping.source, error.destination, mapping.port, error.port)
        flow = self._by_inside.get(key)
        if flow is None or flow.mapping is not mapping:
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
        message = icmp.Message(error.kind, error.code, value)
        self._inside.hand_in(
            flow.envelope.error(
                offender, message, error.payload, size, hop_limit, error.traffic_class
            )
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
