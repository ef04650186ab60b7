"""The hot path: every packet from the TUN and every answer from an outbound passes here.

Always true: a packet is forwarded, answered or dropped, and whatever is not forwarded is counted
under one reason; the rules are evaluated once a flow; nothing that arrives can raise.

Order of the checks for a packet that begins a flow: whole packet, destination and source that may
be forwarded, the router's own address, the rules, hops left, room in the table.
"""

from __future__ import annotations

from collections.abc import Callable

from router.config.model import Config, Policy, PolicyType
from router.engine.admissions import Admissions
from router.engine.carriers import Carriers
from router.engine.direct.decisions import Direct
from router.engine.observer.hook import Observing
from router.engine.refusals import Refusals
from router.engine.reload.reevaluate import Reevaluated, Reevaluation
from router.engine.transit import Transit
from router.flows.addresses import is_forwardable, is_host_source
from router.flows.drops import Drop, Drops
from router.flows.expiry import EVERY
from router.flows.policer import Admission
from router.flows.reassembly import Reassembler
from router.flows.tally import Tallies, Tally
from router.outbound.all import Outbounds
from router.outbound.base import Outbound, QueryChannel
from router.platform.base.errors import PlatformError
from router.policy.match.table import RuleSet
from router.policy.resolve import carrying, policy_of
from router.wire import icmp, ip, tcp
from router.wire.icmp import Error
from router.wire.transport import destination_port

Begin = Callable[[ip.Packet, float], None]
Covers = Callable[[str, int, int], bool]
"""By policy, IP version and destination: whether the system counts the answers; see
router.engine.direct.answers."""


class Forwarder:
    """Forwards between the TUN and the outbounds, by the rules.

    observer: sees each packet before anything is decided about it; None unless packets are traced.
    """

    observer: Observing | None = None

    def __init__(
        self,
        config: Config,
        rules: RuleSet,
        outbounds: Outbounds,
        carriers: Carriers,
        direct: Direct,
        transit: Transit,
        refusals: Refusals,
        drops: Drops,
        covers: Covers,
    ) -> None:
        self._covers = covers
        self.config = config
        self.carriers = carriers
        self.refusals = refusals
        self.drops = drops
        self.tallies = Tallies()
        self._rules = rules
        self._outbounds = outbounds
        self._queries = carriers.queries
        self._datagrams = carriers.datagrams
        self._streams = carriers.streams
        self._streams.decide_by(self._by_rule)
        self.direct = direct
        self._transit = transit
        self.admissions = Admissions(drops)
        self.policer = self.admissions.policer
        self._fragments = Reassembler()
        self._own = frozenset(address.ip.packed for address in config.tun.addresses)

    def from_tun(self, data: bytes, now: float) -> QueryChannel | None:
        """Forward, answer or drop one packet that the system sent into the TUN.

        The channel that may have its answer soon, if it went on in a flow.
        """
        try:
            packet = ip.parse(data)
        except ip.Malformed:
            self.drops.count(Drop.MALFORMED)
            return None
        return self._forward(packet, now)

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

    def change(self, config: Config, rules: RuleSet) -> dict[str, Reevaluated]:
        """Apply other rules, and end the flows about which they decide otherwise; what became of
        the flows, by protocol."""
        reevaluation = Reevaluation(
            self.config, config, rules, self._outbounds, self.tallies, self._covers
        )
        self.config, self._rules, self.tallies = config, rules, reevaluation.tallies
        self.direct.forget()
        reevaluated = self.carriers.reevaluate(reevaluation)
        self.tallies.settle()
        return reevaluated

    def count_again(self) -> None:
        """What `covers` says has changed; `direct` has been made to forget."""
        for flow in self.carriers.flows():
            tally = flow.tally
            covered = self._covers(
                tally.policy, flow.version, int.from_bytes(flow.destination, "big")
            )
            flow.move(self.tallies.of(tally.policy, tally.rule, is_counted_outside=covered))

    def decide(self, version: int, address: int, protocol: int, port: int) -> tuple[Policy, int]:
        """The policy that applies to packets to an address and port, and the index of the rule that
        named it; 0: the default."""
        rule = self._rules.decide(version, address, protocol, port)
        named = policy_of(self.config, rule)
        is_icmp = protocol == icmp.protocol_of(version)
        applies = carrying(self.config, named, self._outbounds.is_up, is_icmp=is_icmp)
        return self.config.policies[applies], rule

    def outbound_of(self, policy: Policy, version: int, address: int) -> Outbound | None:
        """That of packets to an address to which a policy applies; None where there is none."""
        if policy.type is PolicyType.BYPASS:
            return self._outbounds.by_system(version, address)
        return self._outbounds.by_policy.get(policy.name)

    def captures(self, version: int, address: int) -> bool:
        """Whether a rule about an address names anything but `bypass`: then the TUN has a route to
        it."""
        policies = self.config.policies
        return any(
            policies[policy_of(self.config, rule)].type is not PolicyType.BYPASS
            for rule in self._rules.chain(version, address)
        )

    # A packet from the TUN

    def begin_waiting(self, now: float, most: int) -> bool:
        """Go on with `most` of the packets that had to wait; whether others still do."""
        for packet in self.admissions.due(now, most):
            if self.observer is not None:
                self.observer.resume(packet.data)
            self._forward(packet, now, self._begin_admitted)
        if self.observer is not None:
            self.observer.settle()
        return self.admissions.has_waiting

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
            self._send_local_reply(packet)
        elif self._is_foreign(packet) and self._transit.take(packet, now):
            return
        else:
            self._by_rule(packet, now)

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
            self._send_local_reply(error)
        elif reason is Drop.NO_BINDING and self._is_foreign(error):
            self._transit.send(error, now)
        else:
            self.drops.count(reason)

    def _send_local_reply(self, packet: ip.Packet) -> None:
        """An answer of this machine itself, which no rule is about."""
        try:
            self.direct.reply(packet)
        except (OSError, PlatformError):
            self.drops.count(Drop.NO_BUFFER)

    def _from_own_address(self, packet: ip.Packet, now: float) -> bool:
        """A packet from another address of this machine than the TUN's; whether it is sent or
        ended, as one of the direct path."""
        if packet.destination == self.refusals.peers.get(packet.version):
            return False
        address = int.from_bytes(packet.destination, "big")
        by_port = len(self._rules.chain(packet.version, address)) > 1
        translates = self.direct.translated.are_possible()
        by_port |= translates
        if (packet.is_fragment and by_port) or icmp.is_error(packet):
            return False
        policy, tally = self._decide(packet)
        if translates and self.direct.translated.take(packet, tally, now):
            return True
        outbound = self.outbound_of(policy, packet.version, address)
        return self.direct.take(packet, policy, outbound, tally, by_port=by_port, now=now)

    # A packet that begins a flow

    def _decide(self, packet: ip.Packet) -> tuple[Policy, Tally]:
        """The policy that applies, and the tally of the rule that named it."""
        address = int.from_bytes(packet.destination, "big")
        policy, rule = self.decide(
            packet.version, address, packet.protocol, destination_port(packet)
        )
        covered = self._covers(policy.name, packet.version, address)
        return policy, self.tallies.of(policy.name, rule, is_counted_outside=covered)

    def _by_rule(self, packet: ip.Packet, now: float) -> None:
        policy, tally = self._decide(packet)
        match policy.type:
            case PolicyType.REPLY:
                tally.went_out(len(packet.data))
                if self.refusals.reply(packet, now):
                    tally.came_in(len(packet.data))
            case PolicyType.DROP:
                tally.went_out(len(packet.data))
                self.drops.count(Drop.POLICY)
            case PolicyType.REJECT:
                tally.went_out(len(packet.data))
                self.refusals.reject(packet, now)
            case PolicyType.BYPASS:
                self._by_system(packet, tally, now)
            case _:
                self._by_outbound(packet, self._outbounds.by_policy[policy.name], tally, now)

    def _by_system(self, packet: ip.Packet, tally: Tally, now: float) -> None:
        """`bypass` in the TUN: a route matches no ports, so a rule for some of them captures the
        rest of its prefix as well. The packet leaves as if the TUN were not there."""
        outbound = self._outbounds.by_system(
            packet.version, int.from_bytes(packet.destination, "big")
        )
        if outbound is None:
            self.refusals.refuse(packet, Error.NO_ROUTE, Drop.UNREACHABLE, now)
        else:
            self._by_outbound(packet, outbound, tally, now)

    def _by_outbound(self, packet: ip.Packet, outbound: Outbound, tally: Tally, now: float) -> None:
        """Begin a flow by an outbound that is up, or answer why there is none."""
        if packet.hop_limit <= 1:
            self.refusals.refuse(packet, Error.HOP_LIMIT_EXCEEDED, Drop.HOP_LIMIT, now)
        elif not outbound.reaches(packet.version):
            self.refusals.refuse(packet, Error.NO_ROUTE, Drop.UNREACHABLE, now)
        elif not outbound.carries(packet.version, packet.protocol):
            self.refusals.refuse_uncarried(packet, now)
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
            self.refusals.refuse_uncarried(packet, now)

    def _datagram(self, packet: ip.Packet, outbound: Outbound, tally: Tally, now: float) -> None:
        """From an address of the outbound itself it is of a program that replies by that address
        or has bound it: there is nothing to translate, and its own socket receives the answer."""
        is_local = outbound.sends_from(packet.source)
        if is_local and not self._datagrams.has_sent(packet, outbound):
            self._send_local_reply(packet)
        else:
            self._datagrams.begin(packet, outbound, tally, now)


def is_answer(packet: ip.Packet) -> bool:
    """Whether nothing sends this unsolicited: a segment that asks for no connection, and all ICMP
    but queries (and errors, which are judged by what they quote)."""
    if packet.protocol == ip.TCP:
        return tcp.is_whole(packet) and not tcp.is_request(packet)
    return packet.protocol == icmp.protocol_of(packet.version) and (
        icmp.message_type(packet) not in icmp.ANSWER_TO[packet.version]
    )
