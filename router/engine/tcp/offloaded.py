"""Relayed flows whose plain segments the system rewrites itself; see
router.platform.base.flow_offload.

Theory of operation. A flow that moves much, LEAST bytes by now and BULK in one frame, is offloaded:
its segments no longer pass the router, except the few that begin and end it. What has passed is
counted by the system, and added to the counts of the flow and its tally before these are read
(`settle`).

Always true: a flow is offloaded only while it is relayed, and no observer wants its segments; its
counts are complete once it has ended.

Must not know: sockets, how segments are rewritten.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from router.flows.tcp.flow import Flow, State, mirrored
from router.outbound.base import Outbound
from router.platform.base.flow_offload import FlowOffload, Passed, Translation

BULK: Final = 8192
"""Bytes of a frame: the system puts so many together only where much is waiting."""
LEAST: Final = 256 << 10
"""Bytes that a flow has moved before: to offload it, and to end that, costs as much as these."""
DSCP: Final = 0xFC
"""Of the traffic class (RFC 2474)."""
NOTHING: Final = Passed(0.0, 0, 0)

IsWanted = Callable[[bytes], bool]


class _Offloaded:
    """number: of the flow. out, into: what has been counted so far."""

    __slots__ = ("into", "number", "out")

    def __init__(self, number: int) -> None:
        self.number = number
        self.out = self.into = NOTHING


class OffloadedFlows:
    """offload: None where the system has no such thing."""

    def __init__(self, offload: FlowOffload | None) -> None:
        self._offload = offload
        self._flows: dict[Flow[Outbound], _Offloaded] = {}
        self._is_wanted: IsWanted | None = None

    def begin(self, flow: Flow[Outbound], now: float) -> None:
        """Offload a flow of which a long frame has come, if that is possible."""
        if flow in self._flows:
            self.touch(flow, now)
            return
        offload = self._offload
        if offload is None or (self._is_wanted is not None and self._is_wanted(flow.key)):
            return
        if flow.state is not State.RELAYED or flow.bytes_in + flow.bytes_out < LEAST:
            return
        number = offload.begin(translations(flow), now)
        if number is not None:
            self._flows[flow] = _Offloaded(number)

    def touch(self, flow: Flow[Outbound], now: float) -> None:
        """A segment of a quiet flow has passed the router."""
        offloaded = self._flows.get(flow)
        if offloaded is not None and self._offload is not None:
            self._offload.touch(offloaded.number, now)

    def end(self, flow: Flow[Outbound]) -> None:
        """The segments of a flow pass the router from now on."""
        offloaded = self._flows.pop(flow, None)
        if offloaded is not None and self._offload is not None:
            self._offload.end([offloaded.number])
            self._count(flow, offloaded, self._offload)

    def observe(self, is_wanted: IsWanted | None) -> None:
        """Packets are observed from now on, or are not any more. is_wanted: of addresses and ports,
        whether an observer wants such segments, which pass the router then."""
        self._is_wanted = is_wanted
        if is_wanted is not None:
            for flow in [each for each in self._flows if is_wanted(each.key)]:
                self.end(flow)

    def settle(self) -> None:
        """Count what has passed so far."""
        if self._offload is not None:
            for flow, offloaded in self._flows.items():
                self._count(flow, offloaded, self._offload)

    def close(self) -> None:
        """All flows have ended."""
        self._offload = None

    def _count(self, flow: Flow[Outbound], offloaded: _Offloaded, offload: FlowOffload) -> None:
        out, into = offload.passed(offloaded.number)
        packets, size = out.packets - offloaded.out.packets, out.size - offloaded.out.size
        flow.packets_out += packets
        flow.bytes_out += size
        flow.tally.packets_out += packets
        flow.tally.bytes_out += size
        packets, size = into.packets - offloaded.into.packets, into.size - offloaded.into.size
        flow.packets_in += packets
        flow.bytes_in += size
        flow.tally.packets_in += packets
        flow.tally.bytes_in += size
        flow.last = max(flow.last, out.last, into.last)
        offloaded.out, offloaded.into = out, into


def translations(flow: Flow[Outbound]) -> tuple[Translation, Translation]:
    """Of the application's segments, and of the listener's."""
    return (
        Translation(flow.key, flow.alias, flow.traffic_class & DSCP),
        Translation(flow.answer_key, mirrored(flow.key), None),
    )
