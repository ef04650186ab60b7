"""Dial first: a connection request of an application, held until the outbound has connected.

Theory of operation. A request (SYN) is kept while the outbound dials. The application then gets
what the network has reported: a reset for a reset, an ICMP error for an ICMP error, from the router
that sent it, and no answer where there was none. Where the outbound has gone down over it, the
request is decided anew: `on_down` applies. Once connected, the request goes on to a listener
of ours, rewritten so that our kernel ends the connection on a real socket; `connections`, which
accepts it there, takes the outer socket over.

Always true: an application gets no SYN-ACK before the outbound has connected; a dial is in `dials`
exactly as long as its flow is DIALLING or OPENING; a dial that has failed leaves neither a flow nor
a socket behind.

Must not know: how segments pass and sockets are relayed once the connection exists.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from functools import partial
from typing import Final

from router.engine.errnos import EXHAUSTED, RESETS, SEND_ERRORS
from router.engine.refusals import Refusals
from router.engine.tun_writer import TunWriter
from router.flows.addresses import is_host_source
from router.flows.drops import Drop, Drops
from router.flows.tally import Tally
from router.flows.tcp.flow import Flow, State
from router.flows.tcp.table import FlowTable
from router.outbound.base import Dial, DialRequest, Outbound
from router.outbound.descriptors import Descriptors
from router.platform.base.tcp import ConnectFailure
from router.wire import ip, offload, tcp
from router.wire.icmp import Error

DESCRIPTORS_EACH: Final = 2
"""Of a connection: the socket that dials, and the one that will be accepted."""


class Dialer:
    """The flows of `table` that are not relayed yet, and what ends them.

    now: the time of the loop's present round. is_ours: whether an address is one of this machine,
    the TUN's included. blocked: called with the IP version of a connection that our kernel did not
    let in.
    """

    def __init__(
        self,
        table: FlowTable[Outbound],
        now: Callable[[], float],
        is_ours: Callable[[bytes], bool],
        blocked: Callable[[int], None],
        writer: TunWriter,
        refusals: Refusals,
        drops: Drops,
        descriptors: Descriptors,
    ) -> None:
        self.dials: dict[Flow[Outbound], Dial] = {}
        self.decide: Callable[[ip.Packet, float], None] | None = None
        """Decides anew about a request whose outbound has gone down."""
        self._table = table
        self._now = now
        self._is_ours = is_ours
        self._blocked = blocked
        self._writer = writer
        self._refusals = refusals
        self._drops = drops
        self._descriptors = descriptors
        # What each dial sends as its request, if any: the outbound, and destination and ports; and
        # how many send the same.
        self._requests: dict[Flow[Outbound], tuple[Outbound, bytes]] = {}
        self._sent: dict[tuple[Outbound, bytes], int] = {}

    def begin(self, request: ip.Packet, outbound: Outbound, tally: Tally, now: float) -> None:
        """Dial for a whole request, by an outbound that is up and reaches its family."""
        if not self._descriptors.take(DESCRIPTORS_EACH):
            self._refuse(request, ConnectFailure(errno.EMFILE), now)
            return
        ports = tcp.ports(request)
        key = request.source + request.destination + ports
        try:
            dial = outbound.dial(dial_request(request, ports), partial(self._changed, key))
        except OSError as error:
            self._descriptors.give_back(DESCRIPTORS_EACH)
            self._failed(request, outbound, ConnectFailure(error.errno or 0), now)
            return
        flow = self._table.begin(key, request.data, tcp.sequence(request), outbound, tally, now)
        flow.traffic_class = request.traffic_class
        tally.went_out(len(request.data))
        self.dials[flow] = dial
        self._note_sent(flow, dial)
        if dial.is_connected:  # a near host has answered by now, which saves a round of polling
            self._open(flow, request, now)

    def take(self, flow: Flow[Outbound], segment: ip.Packet, now: float) -> bool:
        """A segment of the application while its flow is DIALLING; False if that ends the flow and
        may begin another."""
        request = ip.parse(flow.request)
        if not tcp.is_request(segment):
            if tcp.flags(segment) & tcp.RST:
                self.abandon(flow)
            return True
        if tcp.sequence(segment) == flow.sequence and segment.hop_limit == request.hop_limit:
            flow.repeated(now)
            flow.went_out(len(segment.data))
            return True
        self.abandon(flow)
        return False

    def has_sent(self, request: ip.Packet, outbound: Outbound) -> bool:
        """Whether this is a request that a dial of ours has sent by `outbound` and that came
        back."""
        return (outbound, request.destination + tcp.ports(request)) in self._sent

    def release(self, flow: Flow[Outbound]) -> socket.socket:
        """The connected socket of a flow that was accepted, now the caller's; see Dial.release."""
        dial = self.dials.pop(flow)
        self._forget_sent(flow)
        return dial.release()

    def abandon(self, flow: Flow[Outbound]) -> None:
        """End a flow that is not relayed, whatever its state."""
        dial = self.dials.pop(flow, None)
        if dial is not None:
            self._forget_sent(flow)
            dial.abandon()
            self._descriptors.give_back(DESCRIPTORS_EACH)
        self._table.end(flow)

    def refuse_blocked(self, flow: Flow[Outbound]) -> None:
        """The listener does not get the request of a flow: this machine's firewall drops it."""
        request = ip.parse(flow.request)
        self._refusals.refuse(request, Error.PROHIBITED, Drop.REFUSED_BY_HOST, self._now())
        self.abandon(flow)
        self._blocked(request.version)

    def _note_sent(self, flow: Flow[Outbound], dial: Dial) -> None:
        port = dial.source_port
        if port:
            ends = flow.destination + port.to_bytes(2, "big") + flow.key[-2:]
            sent = self._requests[flow] = flow.outbound, ends
            self._sent[sent] = self._sent.get(sent, 0) + 1

    def _forget_sent(self, flow: Flow[Outbound]) -> None:
        sent = self._requests.pop(flow, None)
        if sent is None:
            return
        left = self._sent[sent] - 1
        if left:
            self._sent[sent] = left
        else:
            del self._sent[sent]

    def _changed(self, key: bytes, _event: int) -> None:
        flow = self._table.by_inside.get(key)
        dial = self.dials.get(flow) if flow is not None else None
        if flow is None or dial is None or flow.state is not State.DIALLING:
            return
        failure = dial.failure
        if failure is not None:
            self.abandon(flow)
            self._failed(ip.parse(flow.request), flow.outbound, failure, self._now())
        elif dial.is_connected:
            self._open(flow, ip.parse(flow.request), self._now())

    def _open(self, flow: Flow[Outbound], request: ip.Packet, now: float) -> None:
        """The outbound has connected: the request goes on to a listener."""
        rewrite = self._table.connected(flow, now)
        if rewrite is None:
            self._refusals.refuse(request, Error.PROHIBITED, Drop.TABLE_FULL, now)
            self.abandon(flow)
            return
        frame = bytearray(offload.NOTHING_LEFT + request.data)
        rewrite.apply(frame, offload.HEADER + request.payload)
        self._writer.deliver(frame[offload.HEADER :])

    def _failed(
        self, request: ip.Packet, outbound: Outbound, failure: ConnectFailure, now: float
    ) -> None:
        if outbound.up or self.decide is None:
            self._refuse(request, failure, now)
        else:
            self.decide(request, now)

    def _refuse(self, request: ip.Packet, failure: ConnectFailure, now: float) -> None:
        """Answer the application with what the network, or our own kernel, has reported."""
        if failure.icmp is not None and failure.offender is not None:
            named = is_host_source(failure.offender) and not self._is_ours(failure.offender)
            self._refusals.pass_on(request, failure.icmp, failure.offender if named else None)
        elif failure.error in RESETS:
            self._refusals.reset(request, Drop.CONNECT_FAILED)
        elif failure.error in EXHAUSTED:
            self._refusals.refuse(request, Error.PROHIBITED, Drop.TABLE_FULL, now)
        elif failure.error == errno.ETIMEDOUT:
            self._drops.count(Drop.CONNECT_FAILED)
        else:
            what, reason = SEND_ERRORS.get(
                failure.error, (Error.HOST_UNREACHABLE, Drop.UNREACHABLE)
            )
            self._refusals.refuse(request, what, reason, now)


def dial_request(request: ip.Packet, ports: bytes) -> DialRequest:
    """What to dial for a SYN that is whole and has hops left. ports: of its header."""
    return DialRequest(
        request.destination,
        int.from_bytes(ports[2:], "big"),
        request.hop_limit - 1,
        request.traffic_class,
        int.from_bytes(ports[:2], "big"),
    )
