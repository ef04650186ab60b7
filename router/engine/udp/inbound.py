"""UDP on its way back: answers, and errors about what has been sent.

Always true: an ICMP error is delivered as one about the datagram that the application sent, and
neither refreshes nor ends anything (RFC 4787 REQ-12); only hosts that a mapping has sent to get
through to its inside endpoint (REQ-8).
"""

from __future__ import annotations

from collections.abc import Mapping as Lookup
from collections.abc import Sequence
from typing import Final

from router.engine.tun_writer import TunWriter
from router.engine.udp.sockets import OutboundMapping
from router.flows.drops import Drop, Drops
from router.flows.udp.flow import Flow, Sender, flow_key
from router.outbound.base import DatagramChannel, Outbound
from router.platform.base.descriptors import Bytes
from router.platform.base.sockets import Arrived, NetworkError
from router.platform.identifications import random_16_bits
from router.wire import icmp, ip, udp

IDENTIFICATIONS: Final = 0x10000
OWN_ERROR_HOP_LIMIT: Final = 64
MOST_BYTES: Final = 65_000
"""Of payload in one run: whole it has to fit in one packet, headers included."""

DatagramFlow = Flow[Outbound, DatagramChannel]
DatagramSender = Sender[Outbound, DatagramChannel]


class UdpInbound:
    """Delivers what the channels of mappings receive.

    flows: by the addresses and ports of what they send. peers: see Refusals.
    """

    def __init__(
        self,
        writer: TunWriter,
        drops: Drops,
        flows: Lookup[bytes, DatagramFlow],
        peers: Lookup[int, bytes],
    ) -> None:
        self._writer = writer
        self._drops = drops
        self._flows = flows
        self._peers = peers
        self._identification = random_16_bits()

    def receive(self, mapping: OutboundMapping, now: float) -> None:
        """Deliver what the channel of a mapping has: a bounded number of datagrams or errors."""
        try:
            all_arrived = mapping.socket.receive()
        except OSError:
            # There is nothing, or an error: some errors are reported in no other way.
            self.read_error_queue(mapping)
            return
        for arrived in all_arrived:
            self._answer(mapping, arrived, now)

    def read_error_queue(self, mapping: OutboundMapping) -> ErrorQueueResult:
        """Deliver what the network has reported about datagrams of a mapping."""
        result = ErrorQueueResult()
        for error in mapping.socket.errors():
            if error.offender is not None:
                result.reported = True
                self.deliver_error(mapping, error, error.offender)
            elif error.value:
                result.mtu = error.value
        return result

    def deliver_error(self, mapping: OutboundMapping, error: NetworkError, offender: bytes) -> None:
        """Deliver what `offender` has reported about a datagram of a mapping.

        An error of our own kernel has an address of ours as its source, which the kernel does not
        accept from the TUN: then the router is the source.
        """
        key = flow_key(mapping.source, error.destination, mapping.port, error.port)
        flow = self._flows.get(key)
        if flow is None or flow.mapping is not mapping:
            self._drops.count(Drop.NO_BINDING)
            return
        hop_limit = error.hop_limit - 1
        if mapping.outbound.owns(offender):
            offender = self._peers.get(mapping.version, offender)
            hop_limit = OWN_ERROR_HOP_LIMIT
        if hop_limit < 1:
            self._drops.count(Drop.HOP_LIMIT)
            return
        value = error.value
        if mapping.version == 4 and error.kind == icmp.PARAMETER_PROBLEM:
            value <<= 24
        size = max(flow.size, udp.HEADER + len(error.payload))
        message = icmp.Message(error.kind, error.code, value)
        self._writer.deliver(
            flow.envelope.error(
                offender, message, error.payload, size, hop_limit, error.traffic_class
            )
        )

    def _answer(self, mapping: OutboundMapping, arrived: Arrived, now: float) -> None:
        name, payloads, hop_limit, traffic_class = arrived
        number = len(payloads)
        sender = mapping.senders.get(name) or self._admit(mapping, name)
        if sender is None or hop_limit <= 1:
            for _ in range(number):
                self._drops.count(Drop.FILTERED if sender is None else Drop.HOP_LIMIT)
            return
        sender.remote.last_in = now
        size = len(payloads[-1]) + number * sender.envelope.headers
        if number > 1:
            size += (number - 1) * len(payloads[0])
        flow = sender.flow
        flow.packets_in += number
        flow.bytes_in += size
        tally = flow.tally
        tally.packets_in += number
        tally.bytes_in += size
        identification = self._identification
        self._identification = (identification + number) % IDENTIFICATIONS
        at = 0
        if number > 1 and self._may_be_a_run(mapping, payloads):
            at = self._deliver_runs(mapping, sender, arrived, identification)
        for payload in payloads[at:]:
            identification = (identification + 1) % IDENTIFICATIONS or 1
            self._writer.deliver(
                sender.envelope.seal(payload, hop_limit - 1, traffic_class, identification)
            )

    def _deliver_runs(
        self,
        mapping: OutboundMapping,
        sender: DatagramSender,
        arrived: Arrived,
        identification: int,
    ) -> int:
        """As few frames as they fit in; how many of the payloads the system has taken."""
        payloads = arrived.payloads
        most = min(mapping.socket.most_segments, MOST_BYTES // len(payloads[0]))
        for at in range(0, len(payloads), most):
            parts = sender.envelope.run(
                payloads[at : at + most],
                arrived.hop_limit - 1,
                arrived.traffic_class,
                (identification + at) % IDENTIFICATIONS,
            )
            if not self._writer.deliver_run(parts):
                return at
        return len(payloads)

    def _may_be_a_run(self, mapping: OutboundMapping, payloads: Sequence[Bytes]) -> bool:
        """Whether the system takes runs, none is empty, and each fits in the TUN's MTU."""
        if not self._writer.takes_runs or not len(payloads[-1]):
            return False
        header = (ip.IPV4_HEADER if mapping.version == 4 else ip.IPV6_HEADER) + udp.HEADER
        return len(payloads[0]) + header <= self._writer.mtu

    def _admit(self, mapping: OutboundMapping, name: bytes) -> DatagramSender | None:
        address, port = mapping.socket.endpoint(name)
        return mapping.admit(name, address, port)


class ErrorQueueResult:
    """What a socket's error queue held: whether the network reported something, and the path's MTU
    if the kernel refused a datagram by it."""

    __slots__ = ("mtu", "reported")

    def __init__(self) -> None:
        self.reported = False
        self.mtu = 0
