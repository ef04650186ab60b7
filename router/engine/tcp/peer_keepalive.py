"""Keepalive of the application's machine, started when the far end probes.

Theory of operation. Probes of a far end are answered by our own kernel, which does not report them;
but the segments that arrive are counted (tcp_info). So quiet connections are examined in turn: when
a segment has arrived and yet nothing has passed inside, the far end has probed, and the system
starts to probe the application's machine, at its usual intervals. That breaks the connection if
there is no answer, and stops at the first answer.

Always true: a machine is probed only when its far end has probed; applications of this machine are
not, as our kernel knows when they end; an examination costs a bounded time.

Must not know: how a probe is sent, what happens to a connection that has broken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from router.flows.tcp.flow import Flow, source_of
from router.outbound.base import Outbound
from router.outbound.relay import Relay
from router.platform.base.tcp import TcpSockets

MOST: Final = 1024
"""Connections at a time, 2 ms or so: with more of them each is looked at less often."""
QUIET: Final = 1.0
"""Seconds without a segment inside; systems do not probe sooner."""


class _Look(NamedTuple):
    """at: when; segments: what had come from the far end by then."""

    at: float
    segments: int


class PeerKeepalive:
    """Probes the applications' machines of `relays`, which their owner keeps up to date.

    is_ours: whether an address is one of this machine.
    """

    def __init__(
        self,
        sockets: TcpSockets,
        relays: Mapping[Flow[Outbound], Relay],
        is_ours: Callable[[bytes], bool],
    ) -> None:
        self._sockets = sockets
        self._relays = relays
        self._is_ours = is_ours
        self._due: list[Flow[Outbound]] = []
        self._looks: dict[Flow[Outbound], _Look] = {}
        # By flow that is being probed: tcp_info.segments of the inner socket at the first probe.
        self._probed: dict[Flow[Outbound], int] = {}

    def look(self, now: float) -> None:
        """Examine MOST connections. Call it about every second."""
        self._stop_answered()
        if not self._due:
            self._due = list(self._relays)
            self._looks = {flow: self._looks[flow] for flow in self._due if flow in self._looks}
        batch, self._due = self._due[:MOST], self._due[MOST:]
        for flow in batch:
            relay = self._relays.get(flow)
            if relay is not None and not self._is_ours(source_of(flow.key)):
                self._examine(flow, relay, now)

    def _examine(self, flow: Flow[Outbound], relay: Relay, now: float) -> None:
        former = self._looks.pop(flow, None)
        if now - flow.last < QUIET or flow in self._probed:
            return
        segments = self._sockets.tcp_info(relay.outer).segments
        self._looks[flow] = _Look(now, segments)
        if former and former.segments != segments and flow.last < former.at:
            self._probed[flow] = self._sockets.tcp_info(relay.inner).segments
            self._sockets.start_keepalive(relay.inner)

    def _stop_answered(self) -> None:
        for flow, segments in list(self._probed.items()):
            relay = self._relays.get(flow)
            if relay is None:
                del self._probed[flow]
            elif self._sockets.tcp_info(relay.inner).segments != segments:
                del self._probed[flow]
                self._sockets.stop_keepalive(relay.inner)
