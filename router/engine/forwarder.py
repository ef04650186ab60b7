"""The hot path: every packet from the TUN and every answer from a way out passes here.

Always true: a packet is forwarded, answered or dropped, and whatever is not forwarded is counted
under one reason; the rules are asked once a flow; nothing that arrives can raise.

Order of the checks for a packet that begins a flow: is it whole, may its destination and source be
forwarded at all, is it for ourselves, what do the rules say, has it hops left, is there room.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from router.config.model import Config, PolicyType
from router.engine.icmp.errors import Errors
from router.engine.icmp.queries import Queries
from router.engine.refusals import Refusals
from router.engine.reload.reevaluate import Reevaluated, Reevaluation
from router.engine.tun_writer import TunWriter
from router.engine.udp.datagrams import Datagrams
from router.flows.addresses import is_forwardable, is_host_source
from router.flows.drops import Drop, Drops
from router.flows.reassembly import Reassembler
from router.flows.tally import Tallies, Tally
from router.outbound.all import Change, Outbound, Outbounds
from router.outbound.icmp import IcmpSocket
from router.outbound.local_replies import LocalReplies
from router.outbound.udp import UdpSockets
from router.platform.base.tun import TunDevice
from router.policy.resolve import effective, policy_of
from router.policy.table import RuleSet
from router.wire import icmp, ip, tcp
from router.wire.icmp import Error
from router.wire.transport import destination_port


class StreamFlows(Protocol):
    """The TCP flows; see router.engine.tcp.streams."""

    def carry(self, size: int, now: float) -> bool: ...
    def take(self, segment: ip.Packet, now: float) -> bool: ...
    def __len__(self) -> int: ...
    def begin(self, segment: ip.Packet, outbound: Outbound, tally: Tally, now: float) -> None: ...
    def from_inside(self, error: ip.Packet) -> bool: ...
    def expire(self, now: float) -> None: ...
    def reevaluate(self, reevaluation: Reevaluation) -> Reevaluated: ...
    def outbounds(self) -> set[Outbound]: ...
    def forget(self, change: Change) -> None: ...


class Forwarder:
    """Forwards between the TUN and the ways out, by the rules.

    peers: by IP version, the address on the TUN that is not ours: the router, as others see it.
    first_id: where among the outside identifiers to begin; any number.
    sockets: opens those of UDP.
    passing: for what has nothing to do with the rules.
    streams: makes what carries TCP; without it, TCP is refused.
    """

    def __init__(
        self,
        config: Config,
        rules: RuleSet,
        outbounds: Outbounds,
        tun: TunDevice,
        peers: Mapping[int, bytes],
        first_id: int,
        sockets: UdpSockets,
        local_replies: LocalReplies | None = None,
        streams: Callable[[TunWriter, Refusals, Drops], StreamFlows] | None = None,
    ) -> None:
        self.drops = Drops()
        self.tallies = Tallies()
        writer = TunWriter(tun, self.drops)
        self.refusals = Refusals(writer, self.drops, peers)
        self.streams = streams(writer, self.refusals, self.drops) if streams else None
        self._local_replies = local_replies
        self.queries = Queries(writer, self.refusals, self.drops, first_id)
        self.datagrams = Datagrams(writer, self.refusals, self.drops, sockets)
        self._errors = Errors(self.queries, self.datagrams, outbounds, self.drops)
        self._fragments = Reassembler()
        self.config = config
        self._rules = rules
        self._outbounds = outbounds

    def from_tun(self, data: bytes, now: float) -> IcmpSocket | None:
        """Do what the rules say with one packet that the system sent into the TUN.

        The socket that may have its answer soon, if it went on in a flow.
        """
        try:
            packet = ip.parse(data)
        except ip.Malformed:
            self.drops.count(Drop.MALFORMED)
            return None
        return self._forward(packet, now)

    def from_outside(self, sock: IcmpSocket, packet: ip.Packet, now: float) -> None:
        """Hand in what a raw socket has received: an answer, or an error about what was sent."""
        request = icmp.REQUEST_OF[packet.version].get(icmp.message_type(packet))
        if request is not None:
            self.queries.answer(sock, packet, request, now)
        elif icmp.is_error(packet):
            self._errors.from_outside(sock, packet)
        else:
            self.drops.count(Drop.ICMP_TYPE)

    def expire(self, now: float) -> None:
        """End what has waited for too long: flows, and datagrams of which fragments are missing."""
        self.queries.expire(now)
        if self.streams is not None:
            self.streams.expire(now)
        self.datagrams.expire(now)
        for first in self._fragments.expire(now):
            if first is None:
                self.drops.count(Drop.FRAGMENT)
            else:
                self.refusals.refuse(first, Error.REASSEMBLY_TIME_EXCEEDED, Drop.FRAGMENT, now)

    def forget(self, change: Change) -> None:
        """End the flows that a change of their way out has left without one; what their
        application sends next asks anew."""
        self.queries.forget(change)
        if self.streams is not None:
            self.streams.forget(change)
        self.datagrams.forget(change)

    def change(self, config: Config, rules: RuleSet) -> dict[str, Reevaluated]:
        """Go over to other rules, and end the flows about which they say otherwise; what has become
        of them, by protocol."""
        reevaluation = Reevaluation(self.config, config, rules, self._outbounds, self.tallies)
        self.config, self._rules, self.tallies = config, rules, reevaluation.tallies
        reevaluated = {
            "icmp": self.queries.reevaluate(reevaluation),
            "udp": self.datagrams.reevaluate(reevaluation),
            "tcp": self.streams.reevaluate(reevaluation)
            if self.streams is not None
            else Reevaluated(),
        }
        self.tallies.settle()
        return reevaluated

    def outbounds_in_use(self) -> set[Outbound]:
        """Those that a flow goes by."""
        in_use = self.queries.outbounds() | self.datagrams.outbounds()
        return in_use | self.streams.outbounds() if self.streams is not None else in_use

    def flows(self) -> dict[str, int]:
        """How many there are at present, by protocol."""
        return {
            "icmp": len(self.queries),
            "udp": len(self.datagrams),
            "tcp": len(self.streams) if self.streams is not None else 0,
        }

    def close(self) -> None:
        """Let go of everything that a flow holds."""
        self.datagrams.close()

    def _forward(self, packet: ip.Packet, now: float) -> IcmpSocket | None:
        kind = icmp.message_type(packet)
        if kind in icmp.ANSWER_TO[packet.version] and packet.hop_limit > 1:
            sock = self.queries.carry(packet, kind, now)
            if sock is not None:
                return sock
        if packet.protocol == ip.UDP and packet.hop_limit > 1 and self.datagrams.carry(packet, now):
            return None
        if (
            packet.protocol == ip.TCP
            and self.streams is not None
            and self.streams.take(packet, now)
        ):
            return None
        self._begin(packet, now)
        return None

    def _begin(self, packet: ip.Packet, now: float) -> None:
        """A packet that belongs to no flow yet."""
        if not is_forwardable(packet.destination):
            self.drops.count(Drop.MULTICAST)
        elif not is_host_source(packet.source) or self._is_spoofed(packet):
            self.drops.count(Drop.BAD_SOURCE)
        elif packet.is_fragment:
            self._collect(packet, now)
        elif packet.destination == self.refusals.peers.get(packet.version):
            self.refusals.as_host(packet, now)
        elif icmp.is_error(packet):
            self._error_from_inside(packet)
        elif (
            self._local_replies is not None
            and self._local_replies.owns(packet.source)
            and is_answer(packet)
        ):
            self._pass_by(packet, self._local_replies)
        else:
            self._by_rule(packet, now)

    def _is_spoofed(self, packet: ip.Packet) -> bool:
        """Whether nobody but us can have this source, or the packet is for its own sender."""
        peer = self.refusals.peers.get(packet.version)
        return packet.source in (peer, packet.destination)

    def _collect(self, fragment: ip.Packet, now: float) -> None:
        """Keep a fragment until its datagram is whole, which then goes on as one."""
        outcome = self._fragments.add(fragment, now)
        if isinstance(outcome, ip.Packet):
            self._forward(outcome, now)
        elif outcome is not None:
            self.drops.count(outcome)

    def _by_rule(self, packet: ip.Packet, now: float) -> None:
        rule = self._rules.decide(
            packet.version,
            int.from_bytes(packet.destination, "big"),
            packet.protocol,
            destination_port(packet),
        )
        named = policy_of(self.config, rule)
        policy = self.config.policies[effective(self.config, named, self._outbounds.is_up)]
        tally = self.tallies.of(policy.name, rule)
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
            case PolicyType.DIRECT | PolicyType.VPN:
                self._by_outbound(packet, self._outbounds.by_policy[policy.name], tally, now)

    def _by_system(self, packet: ip.Packet, tally: Tally, now: float) -> None:
        """`bypass` in the TUN: a route knows no ports, so a rule for some of them brings the rest
        of its prefix along. It leaves as if the TUN were not there."""
        outbound = self._outbounds.by_system(
            packet.version, int.from_bytes(packet.destination, "big")
        )
        if outbound is None:
            self.refusals.refuse(packet, Error.NO_ROUTE, Drop.UNREACHABLE, now)
        else:
            self._by_outbound(packet, outbound, tally, now)

    def _error_from_inside(self, error: ip.Packet) -> None:
        """About something that we have handed in; or this machine's own refusal of a packet that
        came in by another interface."""
        if self.streams is not None and self.streams.from_inside(error):
            return
        reason = self._errors.from_inside(error)
        if reason is None:
            return
        local_replies = self._local_replies
        if local_replies and local_replies.owns(error.source) and icmp.is_by_destination(error):
            self._pass_by(error, local_replies)
        else:
            self.drops.count(reason)

    def _pass_by(self, packet: ip.Packet, local_replies: LocalReplies) -> None:
        """An answer of this machine itself, which no rule is about."""
        try:
            local_replies.send(packet)
        except OSError:
            self.drops.count(Drop.NO_BUFFER)

    def _by_outbound(self, packet: ip.Packet, outbound: Outbound, tally: Tally, now: float) -> None:
        """Begin a flow by a way out that is up, or say why there is none."""
        kind = icmp.message_type(packet)
        if packet.hop_limit <= 1:
            self.refusals.refuse(packet, Error.HOP_LIMIT_EXCEEDED, Drop.HOP_LIMIT, now)
        elif packet.version not in outbound.icmp:
            self.refusals.refuse(packet, Error.NO_ROUTE, Drop.UNREACHABLE, now)
        elif kind in icmp.ANSWER_TO[packet.version]:
            self.queries.begin(packet, kind, outbound, tally, now)
        elif packet.protocol == ip.TCP and self.streams is not None:
            self.streams.begin(packet, outbound, tally, now)
        elif packet.protocol == ip.TCP:
            self.refusals.reset(packet, Drop.TCP_REFUSED)
        elif packet.protocol == ip.UDP:
            self._datagram(packet, outbound, tally, now)
        elif packet.protocol == icmp.protocol_of(packet.version):
            self.refusals.refuse(packet, Error.PROHIBITED, Drop.ICMP_TYPE, now)
        else:
            self.refusals.refuse_protocol(packet, now)

    def _datagram(self, packet: ip.Packet, outbound: Outbound, tally: Tally, now: float) -> None:
        """From an address of the way out itself it is of a program that answers by that address or
        has asked for it: there is nothing to translate, and its own socket is to be answered."""
        local_replies = self._local_replies
        if (
            local_replies
            and outbound.owns(packet.source)
            and not self.datagrams.has_sent(packet, outbound)
        ):
            self._pass_by(packet, local_replies)
        else:
            self.datagrams.begin(packet, outbound, tally, now)


def is_answer(packet: ip.Packet) -> bool:
    """Whether nobody sends this unasked: a segment that asks for no connection, and all ICMP but
    queries (and errors, which are judged by what they quote)."""
    if packet.protocol == ip.TCP:
        return tcp.is_whole(packet) and not tcp.is_request(packet)
    return packet.protocol == icmp.protocol_of(packet.version) and (
        icmp.message_type(packet) not in icmp.ANSWER_TO[packet.version]
    )
