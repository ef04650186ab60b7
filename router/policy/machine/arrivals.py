"""What the host's packet filter does to a packet that arrives: chains of the hooks `input` and
`forward`.

Theory of operation. A rule is a sequence of conditions and a verdict. For a packet of which some
things are known each condition is true, false, or undecided; so a chain accepts the packet, drops
it, or may do either. Only what is dropped for certain is reported.

Always true: a packet is said to be dropped only where no rule before the one that drops it may have
accepted it.

Must not know: how rules are read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Final, NamedTuple

from router.policy.host_rules.model import Compare, Mask
from router.policy.host_rules.register import UNKNOWN, Register, known

DEEPEST: Final = 16
"""Jumps that are followed; NFT_JUMP_STACK_SIZE."""


class Aspect(Enum):
    """What is known of a packet that arrives."""

    INTERFACE = 1
    """Its name, 16 bytes, padded by zero bytes."""
    VERSION = 2
    """NFPROTO_, 1 byte."""
    PROTOCOL = 3
    """1 byte."""
    STATE = 4
    """NF_CT_STATE_BIT, 4 bytes of the machine's byte order."""
    INDEX = 5
    """That of its interface, 4 bytes of the machine's byte order."""
    OUT_INTERFACE = 6
    OUT_INDEX = 7
    """The same of the interface by which it is to be forwarded."""
    OTHER = 8


class Read(NamedTuple):
    """Load a register; of OTHER its content is not known."""

    register: int
    aspect: Aspect


class Undecided(NamedTuple):
    """A condition that cannot be decided."""


class Verdict(Enum):
    """Of a rule, or of a chain about a packet."""

    ACCEPT = 1
    DROP = 2
    RETURN = 3
    EITHER = 4
    """Of a chain: it may accept or drop."""
    NONE = 5
    """Of a rule: none. Of a chain: none of its rules has decided."""


class ArrivalRule(NamedTuple):
    """jump: the chain that it leads to instead of a verdict; returns: whether what comes back from
    there goes on behind the rule."""

    conditions: Sequence[Read | Mask | Compare | Undecided]
    verdict: Verdict = Verdict.NONE
    jump: str | None = None
    returns: bool = True


class ArrivalChain(NamedTuple):
    """A chain of the hook. words: names it; versions: of IP whose packets it sees; others: the
    chains of its table by name, itself included; add: the command that adds a rule before all
    others, without the rule."""

    words: str
    add: str
    versions: Sequence[int]
    name: str
    drops_by_policy: bool
    others: Mapping[str, Sequence[ArrivalRule]]


class Arrival(NamedTuple):
    """A packet, as far as it is known."""

    version: int
    aspects: Mapping[Aspect, bytes]

    def forwarded_by(self, name: bytes, index: bytes) -> Arrival:
        """The same packet on its way to another interface."""
        out = {Aspect.OUT_INTERFACE: name, Aspect.OUT_INDEX: index}
        return Arrival(self.version, {**self.aspects, **out})


def dropping(chains: Sequence[ArrivalChain], arrival: Arrival) -> ArrivalChain | None:
    """The chain that drops a packet for certain, if there is one."""
    for chain in chains:
        if arrival.version not in chain.versions:
            continue
        verdict = _follow(chain, chain.name, arrival, 0)
        if verdict is Verdict.NONE and chain.drops_by_policy:
            verdict = Verdict.DROP
        if verdict is Verdict.DROP:
            return chain
    return None


def _follow(of: ArrivalChain, name: str, arrival: Arrival, depth: int) -> Verdict:
    """What the rules of a chain decide. A rule that may drop the packet is left out: what it leaves
    may be dropped as well."""
    if depth > DEEPEST:
        return Verdict.EITHER
    may_be_saved = False
    for rule in of.others.get(name, ()):
        matches = _matches(rule, arrival)
        if matches is False:
            continue
        verdict = rule.verdict
        if rule.jump is not None:
            verdict = _follow(of, rule.jump, arrival, depth + 1)
            if verdict is Verdict.NONE and not rule.returns:
                verdict = Verdict.RETURN
        if verdict is Verdict.NONE:
            continue
        if verdict is Verdict.EITHER or (matches is None and verdict is not Verdict.DROP):
            may_be_saved = True
        elif matches and verdict is Verdict.RETURN:
            break
        elif matches:
            return Verdict.EITHER if may_be_saved else verdict
    return Verdict.EITHER if may_be_saved else Verdict.NONE


def _matches(rule: ArrivalRule, arrival: Arrival) -> bool | None:
    """None: it may. Only the register that was written last is known."""
    current, content = -1, UNKNOWN
    is_certain = True
    for step in rule.conditions:
        match step:
            case Read():
                value = arrival.aspects.get(step.aspect)
                current = step.register
                content = UNKNOWN if value is None else known(value)
            case Mask():
                before = content if step.source == current else UNKNOWN
                current, content = step.target, before.masked(step.mask, step.flip)
            case Compare():
                decided = _compare(content if step.register == current else UNKNOWN, step)
                if decided is False:
                    return False
                is_certain &= decided is not None
            case _:
                is_certain = False
    return True if is_certain else None


def _compare(content: Register, step: Compare) -> bool | None:
    may_equal, may_differ = content.may_equal(step.value), content.may_differ(step.value)
    if may_equal and may_differ:
        return None
    return may_equal if step.equal else may_differ
