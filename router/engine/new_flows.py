"""Packets that begin a flow: the rules are evaluated, and the packet goes to the carrier of its
protocol, is answered or is dropped.

Always true: whatever does not begin a flow is counted under one reason.

Must not know: packets of flows that exist.
"""

from __future__ import annotations

from router.config.model import PolicyType
from router.engine.applied_rules import AppliedRules
from router.engine.carriers import Carriers
from router.engine.local_replies import LocalReplies
from router.engine.refusals import Refusals
from router.flows.drops import Drop, Drops
from router.flows.tally import Tally
from router.outbound.base import Outbound
from router.wire import icmp, ip
from router.wire.icmp import Error


class NewFlows:
    """Of every protocol."""

    def __init__(
        self,
        rules: AppliedRules,
        carriers: Carriers,
        replies: LocalReplies,
        refusals: Refusals,
        drops: Drops,
    ) -> None:
        self._rules = rules
        self._queries = carriers.queries
        self._datagrams = carriers.datagrams
        self._streams = carriers.streams
        self._streams.decide_by(self.begin)
        self._replies = replies
        self._refusals = refusals
        self._drops = drops

    def begin(self, packet: ip.Packet, now: float) -> None:
        """What the rules say about a packet whose source and destination may be forwarded."""
        policy, tally = self._rules.of_packet(packet)
        match policy.type:
            case PolicyType.REPLY:
                tally.went_out(len(packet.data))
                if self._refusals.reply(packet, now):
                    tally.came_in(len(packet.data))
            case PolicyType.DROP:
                tally.went_out(len(packet.data))
                self._drops.count(Drop.POLICY)
            case PolicyType.REJECT:
                tally.went_out(len(packet.data))
                self._refusals.reject(packet, now)
            case _:
                address = int.from_bytes(packet.destination, "big")
                outbound = self._rules.outbound_of(policy, packet.version, address)
                self._by_outbound(packet, outbound, tally, now)

    def _by_outbound(
        self, packet: ip.Packet, outbound: Outbound | None, tally: Tally, now: float
    ) -> None:
        """Begin a flow by an outbound that is up, or answer why there is none."""
        if outbound is None:
            self._refusals.refuse(packet, Error.NO_ROUTE, Drop.UNREACHABLE, now)
        elif packet.hop_limit <= 1:
            self._refusals.refuse(packet, Error.HOP_LIMIT_EXCEEDED, Drop.HOP_LIMIT, now)
        elif not outbound.reaches(packet.version):
            self._refusals.refuse(packet, Error.NO_ROUTE, Drop.UNREACHABLE, now)
        elif not outbound.carries(packet.version, packet.protocol):
            self._refusals.refuse_uncarried(packet, now)
        elif packet.protocol == ip.TCP:
            self._streams.begin(packet, outbound, tally, now)
        elif packet.protocol == ip.UDP:
            self._datagram(packet, outbound, tally, now)
        else:
            self._query(packet, outbound, tally, now)

    def _query(self, packet: ip.Packet, outbound: Outbound, tally: Tally, now: float) -> None:
        """ICMP is carried where an answer can be told from those of other flows."""
        kind = icmp.message_type(packet)
        if kind in icmp.ANSWER_TO[packet.version]:
            self._queries.begin(packet, kind, outbound, tally, now)
        else:
            self._refusals.refuse_uncarried(packet, now)

    def _datagram(self, packet: ip.Packet, outbound: Outbound, tally: Tally, now: float) -> None:
        """From an address of the outbound itself it is of a program that replies by that address
        or has bound it: there is nothing to translate, and its own socket receives the answer."""
        is_local = outbound.sends_from(packet.source)
        if is_local and not self._datagrams.has_sent(packet, outbound):
            self._replies.send(packet)
        else:
            self._datagrams.begin(packet, outbound, tally, now)
