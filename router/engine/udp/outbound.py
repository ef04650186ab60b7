"""UDP from the TUN to the outbound: consecutive datagrams of one flow leave together.

Always true: what is different ends a run, and what follows in another way (fragments, options)
goes behind it, so the order within a flow is kept; each datagram leaves with its own fields; what
fails together is sent again one by one, so that each sender gets the error of its own datagram.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from router.engine.errnos import SEND_ERRORS
from router.engine.refusals import Refusals
from router.engine.udp.inbound import ErrorQueueResult
from router.engine.udp.sockets import OutboundMapping
from router.flows.drops import Drop, Drops
from router.flows.udp.flow import Flow
from router.outbound.base import DatagramChannel, Outbound
from router.wire import ip, udp
from router.wire.icmp import Error

MOST_BYTES: Final = 65_000
"""Of payload in one run: whole it has to fit in one packet, headers included."""

DatagramFlow = Flow[Outbound, DatagramChannel]


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


class UdpOutbound:
    """Sends datagrams, and answers their senders with the kernel's errors.

    read_error_queue: delivers what the network has reported about a mapping's datagrams.
    """

    def __init__(
        self,
        refusals: Refusals,
        drops: Drops,
        read_error_queue: Callable[[OutboundMapping], ErrorQueueResult],
    ) -> None:
        self._refusals = refusals
        self._drops = drops
        self._read_error_queue = read_error_queue
        self._run: Run | None = None

    def join(
        self, flow: DatagramFlow, payload: bytearray, datagram: udp.Framed, now: float
    ) -> None:
        """Send a datagram together with those before and behind it that are like it; `flush`
        follows."""
        run = self._run
        size = len(payload)
        _, _, _, hop_limit, traffic_class, dont_fragment = datagram
        if (
            run is not None
            and run.room
            and run.flow is flow
            and size == run.size
            and hop_limit == run.hop_limit
            and traffic_class == run.traffic_class
            and dont_fragment == run.dont_fragment
        ):
            run.payloads += payload
            run.count += 1
            run.room -= 1
            return
        if run is not None:
            self.flush(now)
        run = self._run = Run(flow, payload, hop_limit, traffic_class, dont_fragment)
        if size:
            run.room = min(flow.mapping.socket.most_segments, MOST_BYTES // size) - 1

    def flush(self, now: float) -> None:
        """Send what may have waited for more of its kind."""
        run = self._run
        if run is not None:
            self._run = None
            self._send(run, now)

    def send(self, packet: ip.Packet, payload: bytes, flow: DatagramFlow, now: float) -> None:
        """Send a datagram alone, behind all that have been joined before."""
        self.flush(now)
        dont_fragment = packet.dont_fragment * ip.DONT_FRAGMENT
        run = Run(flow, payload, packet.hop_limit, packet.traffic_class, dont_fragment)
        self._send(run, now)

    def _send(self, run: Run, now: float) -> None:
        """An error that was reported since the last call is raised in place of sending, once; its
        report may have been read already, because Linux queues that before it sets the error
        (__udp4_lib_err in net/ipv4/udp.c). One with an MTU is of this datagram."""
        flow = run.flow
        flow.remote.last_out = now
        flow.size = run.size + udp.HEADER
        try:
            self._send_now(run)
        except BlockingIOError:
            for _ in range(run.count):
                self._drops.count(Drop.NO_BUFFER)
        except OSError as error:
            result = self._read_error_queue(flow.mapping)
            if run.count == 1 and result.mtu and not result.reported:
                self._refuse(run, error, result.mtu, now)
            else:
                self._send_each(run, now)

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
                result = self._read_error_queue(run.flow.mapping)
                self._refuse(one, error, result.mtu, now)

    def _send_now(self, run: Run) -> None:
        flow = run.flow
        sock = flow.mapping.socket
        hop_limit = run.hop_limit - 1
        if not sock.sends_with(hop_limit, run.traffic_class, run.dont_fragment):
            sock.send_with(hop_limit, run.traffic_class, run.dont_fragment)
        if run.count == 1:
            sock.send(run.payloads, flow.address)
        else:
            sock.send_run(run.payloads, run.size, flow.address)
        size = len(run.payloads) + run.count * flow.envelope.headers
        flow.packets_out += run.count
        flow.bytes_out += size
        tally = flow.tally
        tally.packets_out += run.count
        tally.bytes_out += size

    def _refuse(self, run: Run, error: OSError, mtu: int, now: float) -> None:
        """Answer the sender with the kernel's error about its datagram. mtu: of the path, or 0."""
        what, reason = SEND_ERRORS.get(error.errno or 0, (None, Drop.NO_BUFFER))
        if what is None:
            self._drops.count(reason)
            return
        flow = run.flow
        outbound, version = flow.mapping.outbound, flow.mapping.version
        value = 0
        if what is Error.TOO_BIG:
            value = mtu or outbound.path(version, flow.address[0]).mtu
        packet = flow.envelope.seal(
            run.payloads, run.hop_limit, run.traffic_class, dont_fragment=run.dont_fragment
        )
        self._refusals.refuse(ip.parse(packet), what, reason, now, value)
