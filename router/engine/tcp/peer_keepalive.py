"""Whether an application's machine is still there, asked when the far end has asked that.

Theory of operation. Probes of a far end are answered by our own kernel, and nobody tells of them;
but what has come from there is counted. So quiet connections are looked at every now and then: when
something has come and yet nothing has passed on inside, the far end has probed, and the system is
told to probe the application's machine in turn, as often as it usually does. That breaks the
connection if nobody answers, and ends with the first answer.

Always true: nobody is probed whose far end has not done so; nor are applications of this machine,
of whose end our kernel knows by itself; a look costs a bounded time, however many there are.

Must not know: how a probe is sent, what becomes of a connection that has broken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from router.flows.tcp import Flow, source_of
from router.outbound.base import Outbound
from router.outbound.relay import Relay
from router.platform.base.tcp import TcpSockets

MOST: Final = 1024
"""Connections at a time, 2 ms or so: with more of them each is looked at less often."""
QUIET: Final = 1.0
"""Seconds without a segment inside. Nobody probes sooner."""


class _Look(NamedTuple):
    """at: when; segments: what had come from the far end by then."""

    at: float
    segments: int


class PeerKeepalive:
    """Asks the applications' machines of `relays`, which whoever fills them keeps up to date.

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
        # And what had come from the application's machine when it was asked.
        self._asked: dict[Flow[Outbound], int] = {}

    def look(self, now: float) -> None:
        """To be called every second or so."""
        self._hear_answers()
        if not self._due:
            self._due = list(self._relays)
            self._looks = {flow: self._looks[flow] for flow in self._due if flow in self._looks}
        batch, self._due = self._due[:MOST], self._due[MOST:]
        for flow in batch:
            relay = self._relays.get(flow)
            if relay is not None and not self._is_ours(source_of(flow.key)):
                self._look_at(flow, relay, now)

    def _look_at(self, flow: Flow[Outbound], relay: Relay, now: float) -> None:
        former = self._looks.pop(flow, None)
        if now - flow.last < QUIET or flow in self._asked:
            return
        segments = self._sockets.tcp_info(relay.outer).segments
        self._looks[flow] = _Look(now, segments)
        if former and former.segments != segments and flow.last < former.at:
            self._asked[flow] = self._sockets.tcp_info(relay.inner).segments
            self._sockets.start_keepalive(relay.inner)

    def _hear_answers(self) -> None:
        for flow, segments in list(self._asked.items()):
            relay = self._relays.get(flow)
            if relay is None:
                del self._asked[flow]
            elif self._sockets.tcp_info(relay.inner).segments != segments:
                del self._asked[flow]
                self._sockets.stop_keepalive(relay.inner)
