"""What chains do to a packet that arrives: only what is certain counts."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import pytest

from router.policy.host_rules.model import Compare, Mask
from router.policy.machine.arrivals import (
    Arrival,
    ArrivalChain,
    ArrivalRule,
    Aspect,
    Read,
    Undecided,
    Verdict,
    dropping,
)

ACCEPT, DROP, RETURN, EITHER, NONE = Verdict
REGISTER = 8
ESTABLISHED = (2).to_bytes(4, sys.byteorder)
ANSWER = Arrival(
    4,
    {
        Aspect.INTERFACE: b"eth0".ljust(16, b"\0"),
        Aspect.STATE: ESTABLISHED,
        Aspect.VERSION: b"\2",
    },
)

BY_ETH0 = (Read(REGISTER, Aspect.INTERFACE), Compare(REGISTER, b"eth0".ljust(16, b"\0")))
BY_ANY_ETH = (Read(REGISTER, Aspect.INTERFACE), Compare(REGISTER, b"eth"))
BY_OTHERS = (*BY_ETH0[:1], Compare(REGISTER, b"eth0".ljust(16, b"\0"), equal=False))
OF_CONNECTIONS = (
    Read(REGISTER, Aspect.STATE),
    Mask(REGISTER, REGISTER, (6).to_bytes(4, sys.byteorder), bytes(4)),
    Compare(REGISTER, bytes(4), equal=False),
)
INVALID = (
    Read(REGISTER, Aspect.STATE),
    Mask(REGISTER, REGISTER, (1).to_bytes(4, sys.byteorder), bytes(4)),
    Compare(REGISTER, bytes(4), equal=False),
)
TCP = (Read(REGISTER, Aspect.PROTOCOL), Compare(REGISTER, b"\6"))
UNKNOWN = (Undecided(),)


def drops(*rules: ArrivalRule, policy: bool = True, other: Sequence[ArrivalRule] = ()) -> bool:
    chain = ArrivalChain("", "", (4,), "input", policy, {"input": rules, "other": other})
    return dropping([chain], ANSWER) is chain


def rule(conditions: object, verdict: Verdict = NONE, **more: object) -> ArrivalRule:
    return ArrivalRule(conditions, verdict, **more)  # type: ignore[arg-type]


def test_the_policy_decides_about_what_no_rule_is_about() -> None:
    assert drops()
    assert not drops(policy=False)
    assert drops(rule(BY_ETH0), rule(BY_OTHERS, ACCEPT))


@pytest.mark.parametrize("conditions", [(), BY_ETH0, BY_ANY_ETH, OF_CONNECTIONS, UNKNOWN, TCP])
def test_what_is_accepted_or_may_be_is_not_dropped(conditions: object) -> None:
    assert not drops(rule(conditions, ACCEPT))
    assert not drops(rule(conditions, ACCEPT), rule((), DROP))


@pytest.mark.parametrize("conditions", [BY_OTHERS, INVALID])
def test_conditions_that_are_false(conditions: object) -> None:
    assert drops(rule(conditions, ACCEPT))
    assert not drops(rule(conditions, DROP), policy=False)


def test_a_rule_that_may_drop_saves_nothing() -> None:
    assert drops(rule(UNKNOWN, DROP))
    assert not drops(rule(UNKNOWN, DROP), policy=False)


def test_a_rule_that_drops_for_certain() -> None:
    assert drops(rule(BY_ETH0, DROP), rule((), ACCEPT), policy=False)
    assert not drops(rule(UNKNOWN, ACCEPT), rule(BY_ETH0, DROP), policy=False)
    assert not drops(rule((), EITHER))


def test_other_chains() -> None:
    accepting = [rule(OF_CONNECTIONS, ACCEPT)]
    assert not drops(rule((), jump="other"), other=accepting)
    assert not drops(rule(UNKNOWN, jump="other"), other=accepting)
    assert drops(rule(BY_OTHERS, jump="other"), other=accepting)
    assert drops(rule((), jump="other"), other=[rule(INVALID, ACCEPT)])
    assert drops(rule((), jump="other"), other=[rule((), DROP)], policy=False)


def test_what_returns_goes_on_behind_the_jump_and_not_behind_a_goto() -> None:
    returning = [rule((), RETURN), rule((), ACCEPT)]
    assert drops(rule((), jump="other"), other=returning)
    assert not drops(rule((), jump="other"), rule((), ACCEPT), other=returning)
    assert drops(rule((), jump="other", returns=False), rule((), ACCEPT), other=[])


def test_what_may_return_may_be_saved() -> None:
    other = [rule(UNKNOWN, RETURN), rule((), DROP)]
    assert not drops(rule((), jump="other"), rule((), ACCEPT), other=other, policy=False)


def test_chains_that_lead_to_each_other_without_end_decide_nothing() -> None:
    assert not drops(rule((), jump="input"))


def test_only_the_register_that_was_written_last_is_known() -> None:
    lost = (*BY_ETH0[:1], Read(9, Aspect.OTHER), BY_OTHERS[1])
    assert not drops(rule(lost, ACCEPT))


def test_a_chain_of_another_version_does_not_see_it() -> None:
    chain = ArrivalChain("", "", (6,), "input", True, {})
    assert dropping([chain], ANSWER) is None
