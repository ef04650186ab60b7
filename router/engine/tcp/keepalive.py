"""Keepalive probes, end to end (RFC 9293, section 3.8.4; RFC 1122, section 4.2.3.6).

Theory of operation. Each of the two connections of a flow would answer probes by itself, and the
loss of an end would not be detected. So a probe of an application is held while the
system sends one by the outbound; as soon as a segment has arrived from there, the one that was held
goes on to our kernel, which answers it. If none arrives it is dropped, and the application counts
one more unanswered probe, as it would without a router.

Always true: a connection is probed only when its application has just done so, and once for each
time; a far end that owes an acknowledgement is not probed: retransmission detects its loss.

Must not know: how a probe is sent, how segments are rewritten.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, NamedTuple, Protocol

from router.engine.tun_writer import TunWriter
from router.flows.nat.rewrite import Rewrite
from router.flows.tcp.flow import Flow
from router.outbound.base import Outbound
from router.outbound.relay import Relay
from router.platform.base.tcp import TcpSockets
from router.wire import offload, tcp

QUIET: Final = 0.5
"""Seconds without a segment before one that may be a probe. Systems wait for a second at least
(TCP_KEEPIDLE, TCP_KEEPINTVL); what a round of the loop takes may make it look shorter."""
FRESH: Final = 0.9
"""Seconds. A far end from which a segment arrived more recently is not probed: the system probes
after one second of silence, and the rest of that is no long wait."""
LOOK_AGAIN: Final = 0.001
"""Seconds until the first check for an answer, which the system does not report."""
GROWTH: Final = 0.25
"""Then it is looked after so much of the time that it has taken already: an answer that is on its
way for 100 ms is seen after 125 at most."""
PATIENCE: Final = 75.0
"""Seconds for which an answer is waited for: the usual time between two probes."""


class Watcher(Protocol):
    """The part of the event loop that is needed here; see router.engine.loop."""

    now: float

    def call_later(self, delay: float, callback: Callable[[], None]) -> None: ...


class _Question(NamedTuple):
    """Whether the far end is there.

    probe       of the application, as it goes on to our kernel
    segments    tcp_info.segments of the far end when it was probed
    probed      when that was
    """

    probe: bytes
    segments: int
    probed: float


class Keepalive:
    """Probes the far ends of `relays`, which their owner keeps up to date."""

    def __init__(
        self,
        sockets: TcpSockets,
        relays: Mapping[Flow[Outbound], Relay],
        watcher: Watcher,
        writer: TunWriter,
    ) -> None:
        self._sockets = sockets
        self._relays = relays
        self._watcher = watcher
        self._writer = writer
        self._open: dict[Flow[Outbound], _Question] = {}

    def holds(
        self, frame: bytearray, size: int, start: int, rewrite: Rewrite[Flow[Outbound]]
    ) -> bool:
        """Whether the frame is a probe that has to wait for the far end; else nothing has happened.

        size, start: where the frame ends, header included, and where TCP begins in it.
        """
        flow = rewrite.owner
        relay = self._relays.get(flow)
        if relay is None or rewrite.outward or not self._is_probe(frame, size, start, flow, relay):
            return False
        tcp_info = self._sockets.tcp_info(relay.outer)
        former = self._open.get(flow)
        if (
            tcp_info.has_unacknowledged
            or (tcp_info.silence is not None and tcp_info.silence < FRESH)
            or (former and former.segments != tcp_info.segments)
        ):
            return False
        flow.went_out(size - offload.HEADER)
        rewrite.apply(frame, start)
        (probe,) = offload.packets(frame, size)
        self._sockets.probe(relay.outer)
        question = self._open[flow] = _Question(probe, tcp_info.segments, self._watcher.now)
        self._watcher.call_later(LOOK_AGAIN, partial(self._look, flow, question))
        return True

    def _is_probe(
        self, frame: bytearray, size: int, start: int, flow: Flow[Outbound], relay: Relay
    ) -> bool:
        """Whether it repeats the number of the last byte, or of the end, that has come."""
        sequence = tcp.probe_sequence(frame, start, size)
        if sequence is None:
            return False
        received = self._sockets.tcp_info(relay.inner).received
        return sequence == (flow.sequence + received) & 0xFFFFFFFF

    def _look(self, flow: Flow[Outbound], question: _Question) -> None:
        """Whether there is an answer by now."""
        if self._open.get(flow) is not question:
            return
        relay = self._relays.get(flow)
        if relay is None:
            del self._open[flow]
            return
        waited = self._watcher.now - question.probed
        answered = self._sockets.tcp_info(relay.outer).segments != question.segments
        if not answered and waited < PATIENCE:
            again = partial(self._look, flow, question)
            self._watcher.call_later(max(LOOK_AGAIN, waited * GROWTH), again)
            return
        del self._open[flow]
        self._sockets.stop_keepalive(relay.outer)
        if answered:
            self._writer.deliver(question.probe)
