"""What was decided about a packet, found out afterwards: from its flow, or from the rules anew.

Always true: nothing is changed. What has no flow is what the rules say now about its destination,
in the same round of the loop in which it was decided on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from router.config.model import PolicyType
from router.engine.forwarder import Forwarder
from router.engine.relayed_flows import outside_of
from router.flows.drops import Drop
from router.flows.flow import Flow
from router.flows.report import DIRECT, RELAYED
from router.flows.tcp.flow import mirrored
from router.flows.trace.decision import DROP, FORWARD, REPLY, Decision
from router.flows.trace.fields import Buffer, Fields, quoted
from router.outbound.base import Outbound
from router.wire import icmp, ip

OWN: frozenset[PolicyType] = frozenset({PolicyType.REPLY, PolicyType.DROP, PolicyType.REJECT})
SOME: Final = Drop.POLICY.value
"""Filters do not tell reasons apart."""


def key_of(fields: Fields) -> bytes | None:
    """The key of a packet from the inside; None where it can belong to no flow."""
    if fields.source_port is None or fields.destination_port is None:
        return None
    ends = fields.source + fields.destination
    if fields.protocol in (ip.TCP, ip.UDP):
        ports = fields.source_port.to_bytes(2, "big"), fields.destination_port.to_bytes(2, "big")
        return ends + b"".join(ports)
    assert fields.kind is not None
    return ends + bytes((fields.kind,)) + fields.source_port.to_bytes(2, "big")


def reversed_fields(fields: Fields) -> Fields:
    """Of the packet that has these as its answer."""
    kind = fields.kind
    if kind is not None:
        kind = icmp.REQUEST_OF[fields.version].get(kind, kind)
    return fields._replace(
        source=fields.destination,
        destination=fields.source,
        source_port=fields.destination_port,
        destination_port=fields.source_port,
        kind=kind,
    )


class Decisions:
    """Of a forwarder."""

    def __init__(self, forwarder: Forwarder) -> None:
        self._forwarder = forwarder

    def is_between_us(self, fields: Fields, *, written: bool) -> bool:
        """Whether a segment is one between our own kernel and the alias of a flow, which no other
        host sees; see router.engine.tcp.segments."""
        key = key_of(fields) if fields.protocol == ip.TCP else None
        if key is None:
            return False
        if written:
            key = mirrored(key)
        return self._forwarder.carriers.streams.is_between_us(key)

    def of_outgoing(self, fields: Fields, verdict: str, reason: str | None) -> Decision:
        """About a packet from the inside, of which verdict and reason are known."""
        flow = self._flow(fields)
        if flow is not None and reason is None:
            return self._of_flow(flow, verdict)
        forwarder, address = self._forwarder, int.from_bytes(fields.destination, "big")
        if fields.destination == forwarder.refusals.peers.get(fields.version):
            return Decision(verdict, reason)
        policy, rule = forwarder.rules.decide(
            fields.version, address, fields.protocol, fields.destination_port or 0
        )
        if reason is not None or verdict == REPLY:
            return Decision(verdict, reason, policy.name, rule)
        if policy.type in OWN:  # an answer of this machine, which no rule is about
            return Decision(verdict, path=DIRECT)
        outbound: Outbound | None = forwarder.rules.outbound_of(policy, fields.version, address)
        interface = None if outbound is None else outbound.leaves_by
        path = DIRECT if forwarder.direct.owns(fields.source) else None
        return Decision(verdict, None, policy.name, rule, interface, path)

    def of_answer(self, fields: Fields, quoted: Fields | None) -> Decision:
        """About a packet that is delivered to the inside. quoted: by an ICMP error."""
        asked = quoted if quoted is not None else reversed_fields(fields)
        flow = self._flow(asked)
        if flow is not None:
            return self._of_flow(flow, FORWARD)
        return self.of_outgoing(asked, REPLY, None)

    def possible_of_outgoing(
        self, fields: Fields | None, _data: Buffer, _end: int
    ) -> Sequence[Decision]:
        """See router.engine.observer.interests."""
        kinds: Sequence[tuple[str, str | None]] = (FORWARD, None), (REPLY, None), (DROP, SOME)
        if fields is None:
            return [Decision(*kind) for kind in kinds]
        return [self.of_outgoing(fields, *kind) for kind in kinds]

    def possible_of_stray(
        self, _fields: Fields | None, _data: Buffer, _end: int
    ) -> Sequence[Decision]:
        """Of what has come from outside, which is reported only if it is dropped."""
        return [Decision(DROP, SOME)]

    def possible_of_answer(
        self, fields: Fields | None, data: Buffer, end: int
    ) -> Sequence[Decision]:
        """Of a packet that is delivered to the inside."""
        if fields is None:
            return []
        return [self.of_answer(fields, quoted(data, end, fields) if fields.is_error else None)]

    def _flow(self, fields: Fields) -> Flow[Outbound] | None:
        key = key_of(fields)
        if key is None:
            return None
        return self._forwarder.carriers.flow(fields.version, fields.protocol, key)

    def _of_flow(self, flow: Flow[Outbound], verdict: str) -> Decision:
        outside = outside_of(self._forwarder.carriers, flow)
        tally, interface = flow.tally, flow.outbound.leaves_by
        return Decision(verdict, None, tally.policy, tally.rule, interface, RELAYED, *outside)
