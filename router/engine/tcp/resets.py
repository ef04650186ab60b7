"""Resets for applications that have missed the one of our kernel.

Theory of operation. Our kernel sends the reset of a connection once, into the TUN, whose queue may
be full; and none for a socket that is closed and still delivers what it has left. So the
application gets a SYN, answers by saying up to where it has received (RFC 5961, section 4.2), and
is reset there. docs/adr/005-tcp.md

Always true: an application is asked only about a flow that has ended, and not while its ports have
another connection.

Must not know: sockets.
"""

from __future__ import annotations

import contextlib
from typing import Final

from router.engine.refusals import Refusals
from router.engine.tun_writer import TunWriter
from router.flows.drops import Drop
from router.flows.tcp.flow import Flow
from router.flows.tcp.table import FlowTable
from router.outbound.base import Outbound
from router.platform.base.tun import TunDevice
from router.wire import ip, offload, tcp

PATIENCE: Final = 1.0
"""Seconds after which a reset that has not passed is missing."""
REPEATED: Final = 3
"""How often it is made up for: the queue may be full at the next attempts as well."""


class Resets:
    """Of the flows of `table`."""

    def __init__(self, table: FlowTable[Outbound], writer: TunWriter, refusals: Refusals) -> None:
        self._table = table
        self._writer = writer
        self._refusals = refusals
        # Flows whose applications our kernel has sent a reset, when, and how often it was repeated.
        self._sent: dict[Flow[Outbound], tuple[float, int]] = {}

    def note_sent(self, flow: Flow[Outbound], now: float) -> None:
        """Our kernel is about to send the application of a flow, which lingers, a reset."""
        self._sent[flow] = now, 0

    def make_up(self, now: float) -> None:
        """For those that are missing. Call it about every second."""
        for flow, (since, repeated) in list(self._sent.items()):
            if now - since < PATIENCE:
                continue
            is_over = repeated == 0 and not self._table.lingers(flow)  # it has passed
            if is_over or repeated == REPEATED or flow.key in self._table.by_inside:
                del self._sent[flow]
                continue
            self._sent[flow] = now, repeated + 1
            self._end_and_ask(flow)

    def reset_unfinished(self, tun: TunDevice, most: int) -> None:
        """Reset the applications to which our kernel is still delivering what closed sockets have
        left: without the TUN no more of it arrives. most: packets that are read for that."""
        flows = self._table.unfinished()
        for flow in flows:
            self._end_and_ask(flow)
        keys = {flow.key for flow in flows}
        with contextlib.suppress(OSError):
            for _ in range(most if keys else 0):
                size = tun.receive()
                self._reset_one_of(keys, bytes(tun.frame[offload.HEADER : size]))

    def _end_and_ask(self, flow: Flow[Outbound]) -> None:
        """What the application answers belongs to no flow, so that a reset is the answer to it."""
        self._table.end(flow)
        ports = flow.destination_port, flow.source_port
        self._writer.deliver(tcp.request(flow.destination, flow.source, ports))

    def _reset_one_of(self, keys: set[bytes], data: bytes) -> None:
        with contextlib.suppress(ip.Malformed):
            segment = ip.parse(data)
            if segment.protocol == ip.TCP and tcp.is_whole(segment):
                key = segment.source + segment.destination + tcp.ports(segment)
                if key in keys:
                    self._refusals.reset(segment, Drop.NO_CONNECTION)
