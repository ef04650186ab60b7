"""The hot path: every packet from the TUN and every answer from an outbound passes here.

Always true: a packet is forwarded, answered or dropped, and whatever is not forwarded is counted
under one reason; the rules are evaluated once a flow; nothing that arrives can raise.

Order of the checks for a packet that begins a flow: whole packet, destination and source that may
be forwarded, the router's own address, the rules, hops left, room in the table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from router.config.model import Config
from router.engine.admissions import Admissions
from router.engine.applied_rules import AppliedRules
from router.engine.carriers import Carriers
from router.engine.direct.decisions import Direct
from router.engine.held_packets import HeldPackets
from router.engine.local_replies import LocalReplies, is_answer
from router.engine.new_flows import NewFlows
from router.engine.observer.hook import Observing
from router.engine.refusals import Refusals
from router.engine.reload.reevaluate import Reevaluated
from router.engine.tracked_requests import TrackedRequests
from router.engine.transit import Transit
from router.flows.addresses import is_forwardable, is_host_source
from router.flows.drops import Drop, Drops
from router.flows.expiry import EVERY
from router.flows.policer import Admission
from router.flows.reassembly import Reassembler
from router.flows.tally import Tallies, Tally
from router.outbound.base import QueryChannel
from router.outbound.direct import NotOpenYet
from router.policy.match.table import RuleSet
from router.wire import icmp, ip, tcp
from router.wire.icmp import Error

FLOW_BYTES: Final = 2048
"""Of memory that a flow takes, more or less."""
Begin = Callable[[ip.Packet, float], None]


class Forwarder:
    """Forwards between the TUN and the outbounds, by the rules.

    unsent: packets whose sender is being opened, by its source address.
    observer: sees each packet before anything is decided about it; None unless packets are traced.
    """

    observer: Observing | None = None

    def __init__(
        self,
        rules: AppliedRules,
        carriers: Carriers,
        direct: Direct,
        transit: Transit,
        requests: TrackedRequests,
        unsent: HeldPackets[bool],
        refusals: Refusals,
        drops: Drops,
    ) -> None:
        self.rules = rules
        self.carriers = carriers
        self.refusals = refusals
        self.drops = drops
        self._queries = carriers.queries
        self._datagrams = carriers.datagrams
        self._streams = carriers.streams
        self.direct = direct
        self._transit = transit
        self._unsent = unsent
        for held in (unsent, requests.held):
            held.observer = lambda: self.observer
            held.not_open = self._hold
        self._replies = LocalReplies(direct, drops)
        self._new_flows = NewFlows(rules, carriers, self._replies, refusals, drops)
        self.admissions = Admissions(drops)
        self.policer = self.admissions.policer
        self._fragments = Reassembler()
        self._own = frozenset(address.ip.packed for address in rules.config.tun.addresses)

    @property
    def config(self) -> Config:
        """The one that is in force."""
        return self.rules.config

    @property
    def tallies(self) -> Tallies:
        """Of the rules that are in force."""
        self._streams.settle()
        self.direct.path.forwarded.settle()
        return self.rules.tallies

    def from_tun(self, data: bytes, now: float) -> QueryChannel | None:
        """Forward, answer or drop one packet that the system sent into the TUN.

        The channel that may have its answer soon, if it went on in a flow.
        """
        try:
            packet = ip.parse(data)
        except ip.Malformed:
            self.drops.count(Drop.MALFORMED)
            return None
        try:
            return self._forward(packet, now)
        except NotOpenYet as missing:
            self._hold(packet, missing)
            return None

    def from_outside(self, channel: QueryChannel, packet: ip.Packet, now: float) -> None:
        """Deliver what a query channel has received: an answer, or an error about what was sent."""
        request = icmp.REQUEST_OF[packet.version].get(icmp.message_type(packet))
        if request is not None:
            self._queries.answer(channel, packet, request, now)
        elif icmp.is_error(packet):
            self.carriers.errors.from_outside(channel, packet)
        else:
            self.drops.count(Drop.ICMP_TYPE)

    def expire(self, now: float, most: int = EVERY) -> bool:
        """End what has waited for too long: flows, and datagrams of which fragments are missing,
        about `most` of each kind; whether there are more."""
        for first in self._fragments.expire(now, most):
            if first is None:
                self.drops.count(Drop.FRAGMENT)
            else:
                self.refusals.refuse(first, Error.REASSEMBLY_TIME_EXCEEDED, Drop.FRAGMENT, now)
        more = self.carriers.expire(now, most)
        return more or self._fragments.has_due(now)

    @property
    def held(self) -> int:
        """Flows, and as many as take the memory of fragments."""
        return sum(self.carriers.counts().values()) + self._fragments.held // FLOW_BYTES

    def shrink(self) -> None:
        """Give back the room that far more of these needed once."""
        self.carriers.shrink()
        self._fragments.shrink()

    def change(self, config: Config, rules: RuleSet) -> dict[str, Reevaluated]:
        """Apply other rules, and end the flows about which they decide otherwise; what became of
        the flows, by protocol."""
        self.direct.forget()
        return self.rules.change(config, rules, self.carriers)

    # A packet from the TUN

    def begin_waiting(self, now: float, most: int) -> bool:
        """Go on with `most` of the packets that had to wait; whether others still do."""
        for packet in self.admissions.due(now, most):
            if self.observer is not None:
                self.observer.resume(packet.data)
            try:
                self._forward(packet, now, self._begin_admitted)
            except NotOpenYet as missing:
                self._hold(packet, missing)
        if self.observer is not None:
            self.observer.settle(now)
        return bool(self.admissions.waiting)

    def _hold(self, packet: ip.Packet, missing: NotOpenYet) -> None:
        """Until it can be sent."""
        if not self._unsent.add(missing.source, packet, self._go_on):
            self.drops.count(Drop.NO_BUFFER)

    def _go_on(self, packet: ip.Packet, is_open: bool, now: float) -> None:
        """The packet's sender has been opened, or has not in time."""
        if is_open:
            self._forward(packet, now)
        else:
            self.drops.count(Drop.NO_BUFFER)

    def _forward(
        self, packet: ip.Packet, now: float, begin: Begin | None = None
    ) -> QueryChannel | None:
        """`begin`: with a packet that belongs to no flow yet."""
        kind = icmp.message_type(packet)
        if kind in icmp.ANSWER_TO[packet.version] and packet.hop_limit > 1:
            channel = self._queries.carry(packet, kind, now)
            if channel is not None:
                return channel
        if packet.protocol == ip.UDP and packet.hop_limit > 1:
            if self._datagrams.carry(packet, now):
                return None
        elif packet.protocol == ip.TCP and self._streams.take(packet, now):
            return None
        (begin or self._begin)(packet, now)
        return None

    def _begin(self, packet: ip.Packet, now: float) -> None:
        if not is_forwardable(packet.destination):
            self.drops.count(Drop.MULTICAST)
        elif not is_host_source(packet.source) or self._is_spoofed(packet):
            self.drops.count(Drop.BAD_SOURCE)
        elif self.direct.owns(packet.source) and self._from_own_address(packet, now):
            return
        else:
            self._admit(packet, now)

    def _admit(self, packet: ip.Packet, now: float) -> None:
        admission = self.admissions.admit(packet, now)
        if admission is Admission.NOW:
            self._begin_admitted(packet, now)
        elif admission is Admission.LATER and self.observer is not None:
            self.observer.postpone()

    def _begin_admitted(self, packet: ip.Packet, now: float) -> None:
        if packet.is_fragment:
            self._collect(packet, now)
        elif packet.destination == self.refusals.peers.get(packet.version):
            self.refusals.as_host(packet, now)
        elif icmp.is_error(packet):
            self._error_from_inside(packet, now)
        elif self.direct.owns(packet.source) and is_answer(packet):
            self._replies.send(packet)
        elif self._is_foreign(packet) and self._transit.take(packet, now, self._go_on_untracked):
            return
        else:
            self._new_flows.begin(packet, now)

    def _go_on_untracked(self, packet: ip.Packet, now: float) -> None:
        """It may belong to a flow that has begun while it was kept."""
        self._forward(packet, now, self._new_flows.begin)

    def _is_foreign(self, packet: ip.Packet) -> bool:
        """Whether a host behind this machine has sent it, not this machine itself."""
        return not self.direct.owns(packet.source) and packet.source not in self._own

    def _is_spoofed(self, packet: ip.Packet) -> bool:
        """Whether the source is ours alone, or is the destination as well, or an address that this
        machine had a moment ago: nothing that is sent there would arrive here."""
        peer = self.refusals.peers.get(packet.version)
        return packet.source in (peer, packet.destination) or self.direct.is_gone(packet.source)

    def _collect(self, fragment: ip.Packet, now: float) -> None:
        """Keep a fragment until its datagram is whole, which then goes on as one."""
        outcome = self._fragments.add(fragment, now)
        if isinstance(outcome, ip.Packet):
            self._forward(outcome, now)
        elif outcome is not None:
            self.drops.count(outcome)

    def _error_from_inside(self, error: ip.Packet, now: float) -> None:
        """About a packet that was written into the TUN; or about one that came in by another
        interface: this machine's own refusal, or that of a host behind it."""
        if self._streams.error_from_inside(error):
            return
        reason = self.carriers.errors.from_inside(error)
        if reason is None:
            return
        if self.direct.owns(error.source) and icmp.is_by_destination(error):
            self._replies.send(error)
        elif reason is Drop.NO_BINDING and self._is_foreign(error):
            self._transit.send(error, now)
        else:
            self.drops.count(reason)

    def _from_own_address(self, packet: ip.Packet, now: float) -> bool:
        """A packet from another address of this machine than the TUN's; whether it is sent, ended
        or kept, as one of the direct path."""
        if packet.destination == self.refusals.peers.get(packet.version):
            return False
        translated = self.direct.translated
        if icmp.is_error(packet) or (packet.is_fragment and self._differs_by_port(packet)):
            return False
        if translated.are_possible() and translated.take(
            packet, now, self._tally_of, self._go_on_untranslated
        ):
            return True
        return self._leave_directly(packet, now)

    def _differs_by_port(self, packet: ip.Packet) -> bool:
        """Whether not all packets to its destination have the same rule."""
        address = int.from_bytes(packet.destination, "big")
        return self.direct.translated.are_possible() or self.rules.depend_on_port(
            packet.version, address
        )

    def _tally_of(self, packet: ip.Packet) -> Tally:
        return self.rules.of_packet(packet)[1]

    def _go_on_untranslated(self, packet: ip.Packet, now: float, is_certain: bool) -> None:
        """It may belong to a flow that has begun while it was kept."""
        if is_certain:
            self._forward(packet, now, self._begin_untranslated)
        elif packet.protocol == ip.TCP and tcp.answers_request(packet):
            self.refusals.drop(Drop.NO_BUFFER)
        else:
            self._forward(packet, now, self._begin_once)

    def _begin_untranslated(self, packet: ip.Packet, now: float) -> None:
        if not self._leave_directly(packet, now):
            self._admit(packet, now)

    def _begin_once(self, packet: ip.Packet, now: float) -> None:
        """Without deciding about those that follow."""
        if not self._leave_directly(packet, now, lasts=False):
            self._admit(packet, now)

    def _leave_directly(self, packet: ip.Packet, now: float, *, lasts: bool = True) -> bool:
        policy, tally = self.rules.of_packet(packet)
        address = int.from_bytes(packet.destination, "big")
        outbound = self.rules.outbound_of(policy, packet.version, address)
        by_port = self._differs_by_port(packet)
        return self.direct.take(
            packet, policy, outbound, tally, by_port=by_port, lasts=lasts, now=now
        )
