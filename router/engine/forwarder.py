"""The hot path: every packet from the TUN and every answer from a way out passes here.

Always true: a packet is forwarded, answered or dropped, and whatever is not forwarded is counted
under one reason; the rules are asked once a flow; nothing that arrives can raise.

Order of the checks for a packet that begins a flow: is it a packet, may its source and destination
be forwarded at all, is it for ourselves, what do the rules say, has it hops left, is there room.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from typing import Final

from router.config.model import BUILT_IN, Config, PolicyType
from router.egress.icmp import IcmpEgress
from router.egress.ways import WayOut, WaysOut
from router.flows import translate
from router.flows.addresses import is_forwardable, is_host_source
from router.flows.drops import Drop, Drops
from router.flows.echo import Binding, EchoTable, outside_key
from router.flows.limiter import TokenBucket
from router.platform.base import TunDevice
from router.policy.resolve import effective, policy_of
from router.policy.table import RuleSet
from router.wire import icmp, ip, tcp
from router.wire.icmp import Error
from router.wire.transport import destination_port

ECHO_FLOWS: Final = 32_768
"""Echo bindings of a family at most; a further one is refused (RFC 5508 REQ-8)."""
ERRORS_PER_SECOND: Final = 1000
ERROR_BURST: Final = 200

SEND_ERRORS: Final[Mapping[int, tuple[Error, Drop]]] = {
    errno.ENETUNREACH: (Error.NO_ROUTE, Drop.UNREACHABLE),
    errno.ENETDOWN: (Error.NO_ROUTE, Drop.UNREACHABLE),
    errno.ENODEV: (Error.NO_ROUTE, Drop.UNREACHABLE),
    errno.ENXIO: (Error.NO_ROUTE, Drop.UNREACHABLE),
    errno.EADDRNOTAVAIL: (Error.NO_ROUTE, Drop.UNREACHABLE),
    errno.EHOSTUNREACH: (Error.HOST_UNREACHABLE, Drop.UNREACHABLE),
    errno.EACCES: (Error.PROHIBITED, Drop.UNREACHABLE),
    errno.EPERM: (Error.PROHIBITED, Drop.UNREACHABLE),
    errno.EMSGSIZE: (Error.TOO_BIG, Drop.TOO_BIG),
}
"""What the kernel says of a packet that we send is what its sender is told."""


class Forwarder:
    """Forwards between the TUN and the ways out, by the rules.

    peers: by IP version, the address on the TUN that is not ours: the router, as others see it.
    first_id: where among the outside identifiers to begin; any number.
    """

    def __init__(
        self,
        config: Config,
        rules: RuleSet,
        ways: WaysOut,
        tun: TunDevice,
        peers: Mapping[int, bytes],
        first_id: int,
    ) -> None:
        self.drops = Drops()
        self.echo: dict[int, EchoTable[WayOut]] = {
            version: EchoTable(ECHO_FLOWS, first_id) for version in (4, 6)
        }
        self.replies = 0
        self._config = config
        self._rules = rules
        self._ways = ways
        self._write = tun.write
        self._peers = peers
        self._errors = TokenBucket(ERRORS_PER_SECOND, ERROR_BURST)
        self._now = 0.0
        self._local: dict[PolicyType, Callable[[ip.Packet], None]] = {
            PolicyType.REPLY: self._reply,
            PolicyType.DROP: self._drop_by_policy,
            PolicyType.REJECT: self._reject,
            PolicyType.BYPASS: self._strayed,
        }

    def from_tun(self, data: bytes, now: float) -> IcmpEgress | None:
        """Do what the rules say with one packet that the system sent into the TUN.

        The socket that may have its answer soon, if it went on in a flow.
        """
        self._now = now
        try:
            packet = ip.parse(data)
        except ip.Malformed:
            self.drops.count(Drop.MALFORMED)
            return None
        if icmp.is_echo_request(packet) and packet.hop_limit > 1:
            start = packet.payload
            key = packet.source + packet.destination + packet.data[start + 4 : start + 6]
            binding = self.echo[packet.version].by_inside.get(key)
            if binding is not None:
                self._send_echo(packet, binding)
                return binding.way.icmp[packet.version]
        self._begin(packet)
        return None

    def from_outside(self, egress: IcmpEgress, answer: ip.Packet, now: float) -> None:
        """Hand in what a raw socket of a way out has received."""
        self._now = now
        if not icmp.is_echo_reply(answer):
            self.drops.count(Drop.ICMP_TYPE)
            return
        start = answer.payload
        key = answer.source + answer.data[start + 4 : start + 6]
        binding = self.echo[answer.version].by_outside.get(key)
        if binding is None or binding.way.icmp.get(answer.version) is not egress:
            self.drops.count(Drop.NO_BINDING)
            return
        if answer.hop_limit <= 1:
            self.drops.count(Drop.HOP_LIMIT)
            return
        binding.last = now
        binding.way.packets_in += 1
        outside_id = translate.echo_identifier(answer)
        self._hand_in(translate.reply(answer, binding.source, outside_id, binding.inside_id))

    def expire(self, now: float) -> None:
        """End the flows that have been idle for too long."""
        for table in self.echo.values():
            table.expire(now)

    def forget(self, way: WayOut) -> None:
        """End the flows of a way out whose interface has changed; their next packet asks anew."""
        for table in self.echo.values():
            table.remove(way)

    # A packet that belongs to no flow

    def _begin(self, packet: ip.Packet) -> None:
        if not is_forwardable(packet.destination):
            self.drops.count(Drop.MULTICAST)
        elif not is_host_source(packet.source):
            self.drops.count(Drop.BAD_SOURCE)
        elif packet.destination == self._peers.get(packet.version):
            self._for_ourselves(packet)
        else:
            self._by_rule(packet)

    def _by_rule(self, packet: ip.Packet) -> None:
        rule = self._rules.decide(
            packet.version,
            int.from_bytes(packet.destination, "big"),
            packet.protocol,
            destination_port(packet),
        )
        named = policy_of(self._config, rule)
        policy = self._config.policies[effective(self._config, named, self._ways.is_up)]
        if policy.type in BUILT_IN:
            self._local[policy.type](packet)
        elif packet.hop_limit <= 1:
            self._refuse(packet, Error.HOP_LIMIT_EXCEEDED, Drop.HOP_LIMIT)
        else:
            self._forward(packet, self._ways.by_policy[policy.name], rule)

    def _forward(self, packet: ip.Packet, way: WayOut, rule: int) -> None:
        """Begin a flow by a way out that is up, or say that it cannot be."""
        if packet.version not in way.icmp:
            self._refuse(packet, Error.NO_ROUTE, Drop.UNREACHABLE)
        elif packet.protocol == ip.TCP:
            self._reset(packet, Drop.TCP_REFUSED)
        elif packet.protocol == ip.UDP:
            self._refuse(packet, Error.PORT_UNREACHABLE, Drop.UDP_REFUSED)
        elif packet.is_fragment:
            self.drops.count(Drop.FRAGMENT)
        elif icmp.is_echo_request(packet):
            self._begin_echo(packet, way, rule)
        elif packet.protocol == icmp.protocol_of(packet.version):
            self.drops.count(Drop.ICMP_TYPE)
        else:
            self._refuse_protocol(packet)

    def _begin_echo(self, request: ip.Packet, way: WayOut, rule: int) -> None:
        table = self.echo[request.version]
        identifier = translate.echo_identifier(request)
        if self._is_our_own(request, way, identifier):
            self.drops.count(Drop.LOOP)
            return
        binding = table.add(
            way,
            request.source,
            request.destination,
            identifier,
            ip.format_address(request.destination),
            rule,
            self._now,
        )
        if binding is None:
            self._refuse(request, Error.PROHIBITED, Drop.TABLE_FULL)
        else:
            self._send_echo(request, binding)

    def _is_our_own(self, request: ip.Packet, way: WayOut, identifier: int) -> bool:
        """Whether this is a request that we sent by `way` and that came back by the TUN."""
        key = outside_key(request.destination, identifier)
        source = way.interfaces[request.version].source(request.version)
        return (
            key in self.echo[request.version].by_outside
            and source is not None
            and source.packed == request.source
        )

    def _send_echo(self, request: ip.Packet, binding: Binding[WayOut]) -> None:
        if request.version == 6 and not icmp.has_valid_checksum(request):
            self.drops.count(Drop.BAD_CHECKSUM)
            return
        way = binding.way
        try:
            way.icmp[request.version].send(request, binding)
        except BlockingIOError:
            self.drops.count(Drop.NO_BUFFER)
        except OSError as error:
            self._refuse_by_errno(request, way, error)
        else:
            binding.last = self._now
            way.packets_out += 1

    # Answers that the router gives itself

    def _reply(self, packet: ip.Packet) -> None:
        """`reply`: an echo request is answered, everything else is rejected."""
        if not icmp.is_echo_request(packet):
            self._reject(packet)
        elif not icmp.has_valid_checksum(packet):
            self.drops.count(Drop.BAD_CHECKSUM)
        else:
            self.replies += 1
            self._hand_in(icmp.echo_reply(packet))

    def _drop_by_policy(self, _packet: ip.Packet) -> None:
        self.drops.count(Drop.POLICY)

    def _reject(self, packet: ip.Packet) -> None:
        if packet.protocol == ip.TCP:
            self._reset(packet, Drop.REJECTED)
        else:
            self._refuse(packet, Error.PROHIBITED, Drop.REJECTED)

    def _strayed(self, packet: ip.Packet) -> None:
        """In the TUN though no rule sends it there: for a neighbour on our subnet who is not."""
        self._refuse(packet, Error.HOST_UNREACHABLE, Drop.UNREACHABLE)

    def _for_ourselves(self, packet: ip.Packet) -> None:
        """For the router's own address: it answers pings and has no port open."""
        if icmp.is_echo_request(packet):
            self._reply(packet)
        elif packet.protocol == ip.TCP:
            self._reset(packet, Drop.TCP_REFUSED)
        elif packet.protocol == ip.UDP:
            self._refuse(packet, Error.PORT_UNREACHABLE, Drop.UDP_REFUSED)
        else:
            self._refuse_protocol(packet)

    def _refuse_protocol(self, packet: ip.Packet) -> None:
        """The IPv6 error points at the field that names the protocol (RFC 4443, section 3.4)."""
        pointer = packet.protocol_field if packet.version == 6 else 0
        self._refuse(packet, Error.PROTOCOL_UNREACHABLE, Drop.PROTOCOL_REFUSED, pointer)

    def _refuse_by_errno(self, packet: ip.Packet, way: WayOut, error: OSError) -> None:
        what, reason = SEND_ERRORS.get(error.errno or 0, (None, Drop.NO_BUFFER))
        if what is None:
            self.drops.count(reason)
            return
        value = way.mtu(packet.version) or 0 if what is Error.TOO_BIG else 0
        self._refuse(packet, what, reason, value)

    def _reset(self, segment: ip.Packet, reason: Drop) -> None:
        self.drops.count(reason)
        answer = tcp.reset(segment)
        if answer is not None:
            self._hand_in(answer)

    def _refuse(self, packet: ip.Packet, what: Error, reason: Drop, value: int = 0) -> None:
        """Count, and tell the sender, where a router may (RFC 1812 4.3.2.7, RFC 4443 2.4 e)."""
        self.drops.count(reason)
        if packet.fragment_offset or icmp.is_error(packet) or not self._errors.take(self._now):
            return
        source = self._peers.get(packet.version, packet.destination)
        self._hand_in(icmp.error(source, packet, what, value))

    def _hand_in(self, packet: bytes) -> None:
        try:
            self._write(packet)
        except OSError:
            self.drops.count(Drop.NO_BUFFER)


def receive_all(forwarder: Forwarder, egress: IcmpEgress, budget: int, now: float) -> None:
    """Hand in what a socket has, `budget` packets at most."""
    for _ in range(budget):
        try:
            answer = egress.receive()
        except BlockingIOError:
            return
        except ip.Malformed:
            forwarder.drops.count(Drop.MALFORMED)
        except OSError:
            return  # the interface has just gone; its change is reported by itself
        else:
            forwarder.from_outside(egress, answer, now)


def read_all(forwarder: Forwarder, tun: TunDevice, budget: int, now: float) -> None:
    """Forward what the TUN has, `budget` packets at most. Raises OSError when the TUN is gone.

    Behind the first packet, the way out that it took is asked for its answer: a host on the same
    machine or switch has given it by then, which spares that answer a wait. Elsewhere the question
    costs a microsecond a round.
    """
    for number in range(budget):
        try:
            data = tun.read()
        except BlockingIOError:
            return
        egress = forwarder.from_tun(data, now)
        if egress is not None and number == 0:
            receive_all(forwarder, egress, 1, now)
