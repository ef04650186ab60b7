"""The TCP flows of both families: how they begin and end.

    dial            from a request of an application to a connected outbound
    connections     accepting, relaying and resetting
    segments        what passes meanwhile, rewritten both ways
    offloaded       what passes without the router
    resets          made up for where an application has missed one
    keepalive, peer_keepalive    probes of either end, end to end

Always true: what cannot be had for a new flow (room, descriptors, ports) is refused to it and taken
from no other; a flow ends by what its two ends do, and by nothing else as long as its outbound is
there and the rules say the same.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from router.engine.refusals import Refusals
from router.engine.reload.reevaluate import Reevaluated, Reevaluation
from router.engine.tcp import connections, keepalive
from router.engine.tcp.connections import Connections, open_listeners
from router.engine.tcp.dial import DESCRIPTORS_EACH, Dialer
from router.engine.tcp.keepalive import Keepalive
from router.engine.tcp.offloaded import OffloadedFlows
from router.engine.tcp.peer_keepalive import PeerKeepalive
from router.engine.tcp.resets import Resets
from router.engine.tcp.segments import Segments
from router.engine.tun_writer import TunWriter
from router.flows.drops import Drop, Drops
from router.flows.flow import FlowEvents
from router.flows.tally import Tally
from router.flows.tcp.flow import Flow, State
from router.flows.tcp.table import FlowTable
from router.outbound.base import Change, Outbound
from router.outbound.descriptors import Descriptors
from router.platform.base.tcp import TcpSockets
from router.platform.base.tun import TunDevice, TunQueue
from router.wire import ip, tcp
from router.wire.icmp import Error

log = logging.getLogger(__name__)

LIMIT: Final = 16_384
"""Connections at most; a further one is refused, unless one has been idle for longer than
RFC 5382 REQ-5 protects it."""
MOST_AT_THE_END: Final = 4096
"""Packets of a queue that are read when the router stops: no less than a TUN holds."""


class Watcher(connections.Watcher, keepalive.Watcher, Protocol):
    """The part of the event loop that TCP needs; see router.engine.loop."""


class Streams:
    """The TCP flows.

    addresses: by IP version, our host address of the TUN's subnet; refusals.peers has the other.
    is_local: whether an address is one of this machine, the TUN's included.
    descriptors: those of connections are taken from there.
    """

    def __init__(
        self,
        sockets: TcpSockets,
        tun: TunDevice,
        watcher: Watcher,
        addresses: Mapping[int, bytes],
        is_local: Callable[[bytes], bool],
        descriptors: Descriptors,
        writer: TunWriter,
        refusals: Refusals,
        drops: Drops,
    ) -> None:
        self._tun = tun
        self._watcher = watcher
        self._refusals = refusals
        self._drops = drops
        self._descriptors = descriptors
        self._addresses = addresses
        self._warned_of: set[int] = set()
        listeners = open_listeners(sockets, addresses)
        self._table: FlowTable[Outbound] = FlowTable(
            LIMIT,
            refusals.peers,
            {version: [each.name for each in some] for version, some in listeners.items()},
        )
        self._dialer = Dialer(
            *(self._table, lambda: watcher.now, is_local, self._warn_of_firewall),
            *(writer, refusals, drops, descriptors),
        )
        self._offloaded = OffloadedFlows(tun.flow_offload)
        self._resets = Resets(self._table, writer, refusals)
        self._connections = Connections(
            sockets,
            self._table,
            self._dialer,
            [each for some in listeners.values() for each in some],
            *(watcher, descriptors, drops, self._offloaded, self._resets),
        )
        relays = self._connections.relays
        self._peer_keepalive = PeerKeepalive(sockets, relays, is_local)
        self._segments = Segments(
            tun.frame,
            self._table,
            self._dialer,
            Keepalive(sockets, relays, watcher, writer),
            is_local,
            self._connections,
            *(writer, refusals, drops),
        )
        self.outer_end = self._connections.outer_end
        self.settle = self._offloaded.settle
        self.observe = self._offloaded.observe
        self.found_empty = self._table.count_emptied
        self.carry = self._segments.carry
        self.take = self._segments.take
        self.error_from_inside = self._segments.error_from_inside

    def decide_by(self, decide: Callable[[ip.Packet, float], None]) -> None:
        """What is called with a request whose outbound has gone down over it."""
        self._dialer.decide = decide

    def shrink(self) -> None:
        """See router.engine.carriers."""
        self._table.shrink()

    def __len__(self) -> int:
        return len(self._table)

    def knows(self, key: bytes) -> bool:
        """Whether a segment with these addresses and ports belongs to a flow."""
        return key in self._table.rewrites or key in self._table.by_inside

    def flow(self, key: bytes) -> Flow[Outbound] | None:
        """The flow of an application's segment with such a key, also one that lingers."""
        rewrite = self._table.rewrites.get(key)
        if rewrite is not None and not rewrite.outward:
            return rewrite.owner
        return self._table.by_inside.get(key)

    def is_between_us(self, key: bytes) -> bool:
        """Whether a segment with such a key is from our kernel to the alias of a flow."""
        rewrite = self._table.rewrites.get(key)
        return rewrite is not None and rewrite.outward

    def begin(self, segment: ip.Packet, outbound: Outbound, tally: Tally, now: float) -> None:
        """The first segment of a flow, by an outbound that is up and reaches its family."""
        if not tcp.is_whole(segment):
            self._drops.count(Drop.MALFORMED)
        elif not tcp.has_valid_checksum(segment):
            self._drops.count(Drop.BAD_CHECKSUM)
        elif not tcp.is_request(segment):
            self._refusals.reset(segment, Drop.NO_CONNECTION)
        elif outbound.owns(segment.source) and self._dialer.has_sent(segment, outbound):
            self._drops.count(Drop.LOOP)
        elif not self._has_room(segment.source) and not self._make_room(segment.source, now):
            self._refusals.refuse(segment, Error.PROHIBITED, Drop.TABLE_FULL, now)
        else:
            self._dialer.begin(segment, outbound, tally, now)

    def expire(self, now: float, most: int) -> bool:
        """End flows whose time is over, `most` of them; whether there are more. One that our kernel
        has connected is established, however long it has waited to be accepted."""
        if self._table.half_open.total:
            self._connections.accept_all()
        for flow in self._table.expired(now, most):
            self._dialer.abandon(flow)
        return self._table.has_due(now)

    def look_after_peers(self, now: float) -> None:
        """Probe applications whose far end probes, and make up for resets that are missing. Call it
        about every second."""
        self._offloaded.settle()
        self._peer_keepalive.look(now)
        self._resets.make_up(now)

    def forget(self, change: Change) -> None:
        """An outbound has changed: end dials, which the next request begins again, and reset
        connections for which nothing can arrive any more; others stay as they are."""
        lost = []
        for flow in self._table.of_outbound(change.outbound):
            outer = self._connections.outer_socket(flow)
            is_lost = outer is not None and change.outbound.has_lost(outer)
            if flow.state is not State.DIALLING:
                if is_lost:
                    lost.append(flow)
            elif is_lost or flow.version in change.lost:
                self._dialer.abandon(flow)
        self._connections.reset_all(lost)

    def reevaluate(self, reevaluation: Reevaluation) -> Reevaluated:
        """End the connections about which other rules decide otherwise, at both
        ends; the request of one that is being dialled is evaluated again when it is repeated."""
        self._offloaded.settle()
        kept, ended = reevaluation.divide(self._table.flows())
        self._connections.reset_all(ended)
        return Reevaluated(kept, len(ended))

    def flows(self) -> Sequence[Flow[Outbound]]:
        """All connections, also those that are being dialled."""
        self._offloaded.settle()
        return self._table.flows()

    def outbounds(self) -> set[Outbound]:
        """Those that a flow uses."""
        return self._table.outbounds()

    def tell(self, events: FlowEvents) -> None:
        """Of every connection that begins or ends from now on."""
        self._table.events = events

    def close(self) -> None:
        """Reset every connection, at both ends, and let the resets get through; also those that
        what waits in the TUN makes our kernel connect."""
        self._drain(self._tun)
        if self._tun.forwarded is not None:
            self._drain(self._tun.forwarded)
        flows: list[Flow[Outbound]] = [*self._dialer.dials, *self._connections.relays]
        for flow in flows:
            self._connections.reset(flow)
            self._drain(self._tun)
        self._resets.reset_unfinished(self._tun, MOST_AT_THE_END)
        self._connections.close()
        self._offloaded.close()

    def _warn_of_firewall(self, version: int) -> None:
        """Once for each family."""
        if version not in self._warned_of:
            self._warned_of.add(version)
            rule = rule_to_accept(
                self._tun.name, self._refusals.peers[version], self._addresses[version]
            )
            log.warning(
                "a firewall of this machine drops TCP connections to the router; it has to accept"
                " them in its input chain, as by this rule of nftables: %s",
                rule,
            )

    def _has_room(self, source: bytes) -> bool:
        return self._table.has_room(source, self._descriptors.free // DESCRIPTORS_EACH)

    def _make_room(self, source: bytes, now: float) -> bool:
        idle = self._table.idle_longest(now)
        if idle is not None:
            self._connections.reset(idle)
        return idle is not None and self._has_room(source)

    def _drain(self, queue: TunQueue) -> None:
        """Carry what the applications, or our own closing sockets, have just sent."""
        with contextlib.suppress(OSError):
            for _ in range(MOST_AT_THE_END):
                self.carry(queue.receive(), self._watcher.now)


def rule_to_accept(tun: str, peer: bytes, own: bytes) -> str:
    """The rule of nftables that lets the connections of applications in: they come from the peer
    on the TUN to our address there."""
    family = "ip" if len(own) == 4 else "ip6"
    return (
        f'iifname "{tun}" {family} saddr {ip.format_address(peer)}'
        f" {family} daddr {ip.format_address(own)} meta l4proto tcp accept"
    )
