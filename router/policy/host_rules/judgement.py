"""Which obstacles the rules are to packets that leave by the direct path, what keeps such packets
from being forwarded without passing the rules, and what is done to packets that arrive.

Each chain of the hooks `output` and `postrouting` is followed, for each source that packets can
have, and those of `prerouting`; a rule counts unless one of its conditions cannot be true. Verdicts
before it do not count, nor do the counters of a chain's policy, which every chain of iptables has.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final, NamedTuple, Protocol

from router.policy.host_rules.model import (
    RTN_LOCAL,
    Choose,
    Compare,
    DirectOutput,
    Effect,
    Field,
    HostRules,
    Jump,
    Load,
    Mask,
    Rule,
    Step,
    Table,
)
from router.policy.host_rules.register import UNKNOWN, Register, known

GRAVITY: Final = {effect: place for place, effect in enumerate(Effect)}
REFUSALS: Final = frozenset({Effect.REFUSES, Effect.IS_UNREPORTED, Effect.SEES_EGRESS})
"""What is no obstacle, as packets of the direct path are seen and refused like others, but keeps
packets from being forwarded."""
OBSTACLES: Final = (
    frozenset(Effect) - REFUSALS - {Effect.MATCHES_OWNER, Effect.SETS_MARK, Effect.REFUSES_MARK}
)
SETTING_MARKS: Final = (Effect.SETS_MARK, Effect.UNKNOWN)
NAME_SIZE: Final = 16
NFPROTO: Final = {4: 2, 6: 10}
"""linux/netfilter.h: NFPROTO_IPV4, NFPROTO_IPV6."""
SOURCE_OFFSET: Final = {4: 12, 6: 8}
DESTINATION_OFFSET: Final = {4: 16, 6: 24}
NO_MARK: Final = known(bytes(4))
LOOPBACK: Final = {4: b"\x7f", 6: bytes(15) + b"\x01"}
"""How no destination begins that packets can leave for."""


class Known(Protocol):
    """What is known of a packet."""

    def load(self, step: Load) -> Register: ...


class Arriving(NamedTuple):
    """A packet that arrives: its IP version is known."""

    version: int

    def load(self, step: Load) -> Register:
        if step.field is Field.VERSION:
            return known(bytes([NFPROTO[self.version]]))
        return UNKNOWN


class Packet(NamedTuple):
    """What is known of a packet that leaves."""

    interface: str
    index: int  # type: ignore[assignment]  # no tuple to search in
    version: int
    source: bytes
    mark: Register = UNKNOWN

    def load(self, step: Load) -> Register:
        match step.field:
            case Field.INTERFACE_NAME:
                return known(self.interface.encode().ljust(NAME_SIZE, b"\0"))
            case Field.INTERFACE_INDEX:
                return known(self.index.to_bytes(4, sys.byteorder))
            case Field.VERSION:
                return known(bytes([NFPROTO[self.version]]))
            case Field.DESTINATION_TYPE:
                return Register(excluded=RTN_LOCAL)
            case Field.NETWORK_HEADER:
                return self._load_header(step.offset, step.length)
        return self.mark if step.field is Field.MARK else UNKNOWN

    def _load_header(self, offset: int, length: int) -> Register:
        """Of the network header the source is known."""
        if offset == DESTINATION_OFFSET[self.version]:
            return Register(excluded=LOOPBACK[self.version])
        before = bytes(SOURCE_OFFSET[self.version])
        end = offset + length
        value = (before + self.source)[offset:end]
        return Register(value, (before + b"\xff" * len(self.source))[offset:end])


class Passage(NamedTuple):
    """What a rule may do to a packet, and the chains that it may lead to."""

    effects: list[Effect]
    chains: list[str]

    def take(self, verdict: Jump | Effect) -> None:
        if isinstance(verdict, Jump):
            self.chains.append(verdict.chain)
        else:
            self.effects.append(verdict)


Effects = Counter[tuple[Effect, str]]
"""How many rules have the effect, by effect and chain."""


class Found(NamedTuple):
    """What a chain of a table may do to a packet."""

    table: Table
    effect: Effect
    chain: str


def judge(tables: Iterable[Table], outputs: Sequence[DirectOutput]) -> HostRules:
    """The gravest obstacle and refusal for each output, and what is done to packets that arrive."""
    tables = tuple(tables)
    found = {output.interface: list(_effects_on_output(tables, output)) for output in outputs}
    return HostRules(
        _clauses(found, OBSTACLES),
        any(effect is Effect.TRANSLATES for _, effect, _ in effects_on_arrival(tables)),
        {
            version: clause
            for version, effect, clause in effects_on_arrival(tables)
            if effect is Effect.CHECKS_PATH
        },
        _first_clauses(tables, outputs, _owner_matches),
        _clauses(found, REFUSALS),
        _mark_checks(tables, outputs),
    )


def unreadable(why: str, outputs: Sequence[DirectOutput]) -> HostRules:
    """Nothing can be proven where the rules are not known."""
    reasons = {output.interface: why for output in outputs}
    return HostRules(reasons, translates_requests=True, refusals=reasons)


def _effects_on_output(tables: Iterable[Table], output: DirectOutput) -> Iterator[Found]:
    for table in tables:
        for packet in _packets(output):
            if packet.version in table.versions:
                for effect, chain in effects_on(table, packet, table.outgoing):
                    yield Found(table, effect, chain)


def _clauses(found: Mapping[str, Sequence[Found]], wanted: Container[Effect]) -> dict[str, str]:
    """The gravest effect of these by each interface, as a clause for people; nothing where there is
    none."""
    clauses = {}
    for interface, each in found.items():
        counted = [one for one in each if one.effect in wanted]
        if counted:
            clauses[interface] = _clause(*min(counted, key=lambda one: GRAVITY[one.effect]))
    return clauses


def _first_clauses(
    tables: Iterable[Table],
    outputs: Sequence[DirectOutput],
    effects: Callable[[Table, Packet], Effects],
) -> dict[str, str]:
    """One of the effects that are seen by an output and not by the TUN, as a clause for people: by
    the interfaces of the outputs where there are any."""
    return {
        output.interface: clause
        for output in outputs
        for clause in islice(_not_by_tun(tables, output, effects), 1)
    }


def _not_by_tun(
    tables: Iterable[Table], output: DirectOutput, effects: Callable[[Table, Packet], Effects]
) -> Iterator[str]:
    for table in tables:
        for packet in _packets(output):
            if packet.version in table.versions:
                found = effects(table, packet)
                if found:  # else the TUN need not be compared
                    found -= effects(table, packet._replace(interface=output.tun, index=0))
                yield from (_clause(table, effect, chain) for effect, chain in found)


def _owner_matches(table: Table, packet: Packet) -> Effects:
    return _only(Effect.MATCHES_OWNER, Counter(effects_on(table, packet, table.outgoing)))


def _mark_checks(tables: Sequence[Table], outputs: Sequence[DirectOutput]) -> dict[str, str]:
    """See HostRules. None where any rule may set marks: then they need not be a program's, and are
    set for what leaves by each interface."""
    if any(step in SETTING_MARKS for table in tables for step in _steps(table)):
        return {}
    reading = [table for table in tables if any(_reads_mark(step) for step in _steps(table))]
    return _first_clauses(reading, outputs, _refusals_of_marks)


def _reads_mark(step: Step) -> bool:
    return isinstance(step, Load) and step.field is Field.MARK


def _refusals_of_marks(table: Table, packet: Packet) -> Effects:
    """The verdicts that refuse a packet with a mark and none without."""
    unmarked = packet._replace(mark=NO_MARK)
    refusals = _only(Effect.REFUSES, Counter(effects_on(table, packet, table.outgoing)))
    refusals -= Counter(effects_on(table, unmarked, table.outgoing))
    return Counter({(Effect.REFUSES_MARK, chain): each for (_, chain), each in refusals.items()})


def _only(wanted: Effect, effects: Effects) -> Effects:
    return Counter({each: number for each, number in effects.items() if each[0] is wanted})


def _steps(table: Table) -> Iterator[Step]:
    return (step for rules in table.chains.values() for rule in rules for step in rule)


def _packets(output: DirectOutput) -> list[Packet]:
    return [
        Packet(output.interface, output.index, source.version, source.packed)
        for source in output.sources
    ]


def effects_on_arrival(tables: Iterable[Table]) -> Iterator[tuple[int, Effect, str]]:
    """(IP version, effect, clause for people) of what rules may do to packets that arrive."""
    for table in tables:
        for version in table.versions:
            for effect, chain in effects_on(table, Arriving(version), table.incoming):
                yield version, effect, _clause(table, effect, chain)


def _clause(table: Table, effect: Effect, chain: str) -> str:
    return f"{table.words} {effect.value}{f' (chain {chain})' if chain else ''}"


def effects_on(table: Table, packet: Known, chains: Sequence[str]) -> Iterator[tuple[Effect, str]]:
    """The effects that the rules of a table, beginning with these chains, may have on a packet,
    each with the name of its chain."""
    waiting = list(chains)
    seen = set(waiting)
    while waiting:
        chain = waiting.pop()
        for rule in table.chains.get(chain, ()):
            effects, next_chains = follow(rule, packet)
            yield from ((effect, chain) for effect in effects)
            for each in next_chains:
                if each not in seen:
                    seen.add(each)
                    waiting.append(each)


def follow(rule: Rule, packet: Known) -> Passage:
    """Carry out the steps up to a condition that cannot be true; the owner matters only where all
    may be true.

    Only the register that was written last is known: a later write may overlap earlier ones.
    """
    passage = Passage([], [])
    current, content = -1, UNKNOWN
    for step in rule:
        match step:
            case Effect() | Jump():
                passage.take(step)
            case Load():
                current, content = step.register, packet.load(step)
            case Mask():
                before = content if step.source == current else UNKNOWN
                current, content = step.target, before.masked(step.mask, step.flip)
            case Compare():
                if step.register == current and not _may_go_on(content, step):
                    break
            case Choose():
                before = content if step.register == current else UNKNOWN
                for branch in step.branches:
                    if branch.value is None or before.may_equal(branch.value):
                        passage.take(branch.verdict)
    else:
        return passage
    effects: list[Effect] = [each for each in passage.effects if each is not Effect.MATCHES_OWNER]
    return passage._replace(effects=effects)


def _may_go_on(content: Register, step: Compare) -> bool:
    return content.may_equal(step.value) if step.equal else content.may_differ(step.value)
