"""Which rules are an obstacle to packets that leave by eth0."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from ipaddress import ip_address

import pytest

from router.policy.host_rules.judgement import OBSTACLES, judge, unreadable
from router.policy.host_rules.model import (
    Branch,
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

V4, V6 = ip_address("192.0.2.5"), ip_address("2001:db8::5")
ETH0 = DirectOutput("eth0", 2, [V4, V6])
WG0 = DirectOutput("wg0", 3, [ip_address("10.8.0.2")])
COUNTS = "nftables table inet t counts what leaves (chain out)"

NAME = Load(8, Field.INTERFACE_NAME)
INDEX = Load(8, Field.INTERFACE_INDEX)
SOURCE = Load(8, Field.NETWORK_HEADER, 12, 4)
DESTINATION = Load(8, Field.NETWORK_HEADER, 16, 4)
IPV4 = [Load(8, Field.VERSION), Compare(8, b"\x02")]
IPV6 = [Load(8, Field.VERSION), Compare(8, b"\x0a")]


def table(
    *rules: Rule,
    chains: Mapping[str, Sequence[Rule]] | None = None,
    versions: Sequence[int] = (4, 6),
) -> Table:
    return Table("nftables table inet t", versions, {"out": rules, **(chains or {})}, ["out"])


def obstacle(tables: Sequence[Table], output: DirectOutput) -> str | None:
    return judge(tables, [output]).obstacles.get(output.interface)


def refusal(tables: Sequence[Table], output: DirectOutput) -> str | None:
    return judge(tables, [output]).refusals.get(output.interface)


def native(value: int) -> bytes:
    return value.to_bytes(4, sys.byteorder)


TO_THIS_MACHINE: list[Step] = [Load(8, Field.DESTINATION_TYPE), Compare(8, native(2))]


def padded(name: str) -> bytes:
    return name.encode().ljust(16, b"\0")


def test_a_table_without_effects_is_none() -> None:
    rules = table([NAME, Compare(8, padded("lo")), Jump("x")], [Jump("nowhere")], chains={"x": []})
    assert obstacle([rules], ETH0) is None
    assert obstacle([], ETH0) is None


@pytest.mark.parametrize("effect", [each for each in Effect if each in OBSTACLES])
def test_each_effect_is_an_obstacle_in_words(effect: Effect) -> None:
    clause = f"nftables table inet t {effect.value} (chain out)"
    assert obstacle([table([effect])], ETH0) == clause


@pytest.mark.parametrize(
    "conditions",
    [
        pytest.param([NAME, Compare(8, padded("docker0"))], id="another name"),
        pytest.param([NAME, Compare(8, b"eth0", equal=False)], id="all names but the output's"),
        pytest.param([NAME, Compare(8, b"wg")], id="the beginning of other names"),
        pytest.param([NAME, Compare(8, padded("eth"))], id="a name that the output's begins with"),
        pytest.param([INDEX, Compare(8, native(3))], id="another index"),
        pytest.param([*IPV4, SOURCE, Compare(8, b"\xac\x11")], id="a prefix of other sources"),
        pytest.param(
            [
                *IPV4,
                SOURCE,
                Mask(8, 8, b"\xff\xff\xf0\0", bytes(4)),
                Compare(8, b"\xc0\0\x10\0"),
            ],
            id="a masked prefix of other sources",
        ),
        pytest.param(
            [*IPV4, Load(8, Field.NETWORK_HEADER, 12, 8), Compare(8, b"\x0a\0\0\x01\x0a\0\0\x02")],
            id="another source and a destination",
        ),
        pytest.param([*IPV4, SOURCE, Compare(8, V4.packed, equal=False), *IPV6], id="no source"),
        pytest.param([*IPV4, *IPV6], id="both versions"),
        pytest.param(
            [*IPV6, Load(8, Field.NETWORK_HEADER, 8, 16), Compare(8, b"\xfe\x80")],
            id="link-local sources",
        ),
        pytest.param([*IPV4, DESTINATION, Compare(8, b"\x7f")], id="loopback destinations"),
        pytest.param(
            [*IPV6, Load(8, Field.NETWORK_HEADER, 24, 16), Compare(8, bytes(15) + b"\x01")],
            id="the loopback destination",
        ),
        pytest.param(TO_THIS_MACHINE, id="local destinations"),
    ],
)
def test_a_rule_that_no_packet_can_match_is_none(conditions: Sequence[Step]) -> None:
    assert obstacle([table([*conditions, Effect.COUNTS])], ETH0) is None
    assert (
        obstacle([table([*conditions, Jump("x")], chains={"x": [[Effect.COUNTS]]})], ETH0) is None
    )


@pytest.mark.parametrize(
    "conditions",
    [
        pytest.param([NAME, Compare(8, padded("eth0"))], id="the name"),
        pytest.param([NAME, Compare(8, b"eth")], id="the beginning of the name"),
        pytest.param([NAME, Compare(8, padded("lo"), equal=False)], id="all names but another"),
        pytest.param([INDEX, Compare(8, native(2))], id="the index"),
        pytest.param([SOURCE, Compare(8, b"\xc0\0\x02")], id="a prefix of the source"),
        pytest.param([SOURCE, Compare(8, b"\xac\x11", equal=False)], id="all sources but others"),
        pytest.param([DESTINATION, Compare(8, b"\x0a")], id="some destinations"),
        pytest.param([DESTINATION, Compare(8, b"\x7f", equal=False)], id="all but loopback"),
        pytest.param(
            [Load(8, Field.DESTINATION_TYPE), Compare(8, native(2), equal=False)], id="not local"
        ),
        pytest.param([Load(8, Field.OTHER), Compare(8, b"\x01")], id="what is not known"),
        pytest.param([NAME, Load(9, Field.OTHER), Compare(8, padded("lo"))], id="overwritten"),
        pytest.param([NAME, Load(8, Field.OTHER), Compare(8, padded("lo"))], id="loaded anew"),
        pytest.param(
            [NAME, Mask(9, 8, b"\xff", b"\0"), Compare(8, b"w")], id="the mask of another register"
        ),
        pytest.param(IPV6, id="one version"),
    ],
)
def test_a_rule_that_a_packet_may_match_is_one(conditions: Sequence[Step]) -> None:
    assert obstacle([table([*conditions, Effect.COUNTS])], ETH0) == COUNTS


def test_what_comes_before_a_condition_counts() -> None:
    assert obstacle([table([Effect.COUNTS, *TO_THIS_MACHINE, Effect.TRANSLATES])], ETH0) == COUNTS


def test_only_chains_that_can_be_reached_count() -> None:
    chains: dict[str, Sequence[Rule]] = {
        "one": [[Jump("two")]],
        "two": [[Jump("one"), Effect.LOGS]],
        "unused": [[Effect.TRANSLATES]],
    }
    clause = "nftables table inet t logs what leaves (chain two)"
    assert obstacle([table([Jump("one")], chains=chains)], ETH0) == clause


@pytest.mark.parametrize(
    ("branch", "taken"),
    [
        (Branch(Jump("x"), padded("eth0")), True),
        (Branch(Jump("x"), padded("docker0")), False),
        (Branch(Jump("x")), True),
        (Branch(Effect.QUEUES, padded("eth0")), True),
        (Branch(Effect.QUEUES, padded("docker0")), False),
    ],
)
def test_a_verdict_map_leads_where_its_value_may_be(branch: Branch, taken: bool) -> None:
    rules = table([NAME, Choose(8, [branch])], chains={"x": [[Effect.COUNTS]]})
    assert (obstacle([rules], ETH0) is not None) == taken
    unknown = table([NAME, Choose(9, [branch])], chains={"x": [[Effect.COUNTS]]})
    assert obstacle([unknown], ETH0) is not None


def test_a_table_of_the_other_version_is_none() -> None:
    only_v4 = DirectOutput("eth0", 2, [V4])
    assert obstacle([table([Effect.COUNTS], versions=[6])], only_v4) is None
    assert obstacle([table([Effect.COUNTS], versions=[6])], ETH0) == COUNTS


def test_an_output_without_a_source_sends_nothing() -> None:
    assert obstacle([table([Effect.COUNTS])], DirectOutput("eth0", 2, [])) is None


def test_the_gravest_effect_is_named() -> None:
    tables = [table([Effect.COUNTS, Effect.TRANSLATES]), table([Effect.LOGS])]
    clause = "nftables table inet t translates addresses or ports of what leaves (chain out)"
    assert obstacle(tables, ETH0) == clause


def test_each_output_is_judged_by_itself() -> None:
    rules = judge([table([NAME, Compare(8, padded("eth0")), Effect.COUNTS])], [WG0, ETH0])
    assert rules == HostRules({"eth0": COUNTS})
    assert rules.obstacle == COUNTS
    assert judge([], [WG0, ETH0]).obstacle is None


def test_unreadable_rules_are_an_obstacle_everywhere() -> None:
    rules = unreadable("the rules could not be read", [WG0, ETH0])
    assert rules.obstacles.keys() == rules.refusals.keys() == {"wg0", "eth0"}
    assert rules.obstacle == "the rules could not be read"


# The owner

OWNER = "nftables table inet t looks at the owner of what leaves (chain out)"
BY_ETH0: list[Step] = [NAME, Compare(8, padded("eth0"))]
BY_TUN: list[Step] = [NAME, Compare(8, padded("tun11"))]
BY_OTHERS: list[Step] = [NAME, Compare(8, padded("lo"), False)]
ITS_OWNER: list[Step] = [Effect.MATCHES_OWNER, Load(8, Field.OTHER)]


@pytest.mark.parametrize(
    ("rules", "reported"),
    [
        ([ITS_OWNER], False),
        ([[*BY_OTHERS, *ITS_OWNER]], False),
        ([[Load(8, Field.INTERFACE_NAME), *ITS_OWNER]], False),
        ([[*BY_ETH0, *ITS_OWNER]], True),
        ([[*ITS_OWNER, *BY_ETH0]], True),
        ([ITS_OWNER, [*BY_ETH0, *ITS_OWNER]], True),
        ([[INDEX, Compare(8, native(2)), *ITS_OWNER]], True),
        ([[NAME, Compare(8, padded("wg0")), *ITS_OWNER]], False),
    ],
)
def test_an_owner_is_looked_at_by_the_output_alone(rules: Sequence[Rule], reported: bool) -> None:
    """It is no obstacle either way, as relaying would not help."""
    assert obstacle([table(*rules)], ETH0) is None
    assert judge([table(*rules)], [ETH0]).owner_checks == ({"eth0": OWNER} if reported else {})


def test_an_owner_behind_a_jump() -> None:
    rules = table([*BY_ETH0, Jump("x")], chains={"x": [ITS_OWNER]})
    clause = OWNER.replace("chain out", "chain x")
    assert judge([rules], [ETH0]).owner_checks == {"eth0": clause}


def test_a_rule_of_its_own_for_the_tun() -> None:
    both = table([*BY_ETH0, *ITS_OWNER], [*BY_TUN, *ITS_OWNER])
    assert judge([both], [ETH0._replace(tun="tun11")]).owner_checks == {}
    assert judge([both], [ETH0]).owner_checks == {"eth0": OWNER}


# The mark

MARKED = "nftables table inet t refuses what has a mark or priority (chain out)"
A_MARK: list[Step] = [Load(8, Field.MARK), Compare(8, native(7))]
ANOTHER_MARK: list[Step] = [Load(8, Field.MARK), Compare(8, native(7), equal=False)]
IN_MASK: list[Step] = [
    Load(8, Field.MARK),
    Mask(8, 8, native(0xFF00), bytes(4)),
    Compare(8, native(0), equal=False),
]


def mark_checks(
    tables: Sequence[Table], *outputs: DirectOutput, tun: str = "tun11"
) -> Mapping[str, str]:
    return judge(tables, [each._replace(tun=tun) for each in outputs or [ETH0]]).mark_checks


@pytest.mark.parametrize(
    ("rules", "reported"),
    [
        pytest.param([[*BY_ETH0, *A_MARK, Effect.REFUSES]], True, id="by the output"),
        pytest.param([[*A_MARK, *BY_ETH0, Effect.REFUSES]], True, id="the mark first"),
        pytest.param(
            [[INDEX, Compare(8, native(2)), *A_MARK, Effect.REFUSES]], True, id="its index"
        ),
        pytest.param([[*BY_ETH0, *IN_MASK, Effect.REFUSES]], True, id="bits of a mark"),
        pytest.param(
            [[NAME, Compare(8, padded("tun11"), equal=False), *A_MARK, Effect.REFUSES]],
            True,
            id="all but the TUN",
        ),
        pytest.param(
            [
                [
                    *BY_ETH0,
                    Load(8, Field.MARK),
                    Choose(8, [Branch(Effect.REFUSES, native(7))]),
                ]
            ],
            True,
            id="a verdict map",
        ),
        pytest.param([[*A_MARK, Effect.REFUSES]], False, id="by all"),
        pytest.param([[*BY_OTHERS, *A_MARK, Effect.REFUSES]], False, id="by all but one"),
        pytest.param(
            [[*BY_ETH0, *A_MARK, Effect.REFUSES], [*BY_TUN, *A_MARK, Effect.REFUSES]],
            False,
            id="by the output and by the TUN",
        ),
        pytest.param(
            [[NAME, Compare(8, padded("wg0")), *A_MARK, Effect.REFUSES]], False, id="by another"
        ),
        pytest.param([[*BY_ETH0, *A_MARK]], False, id="lets through"),
        pytest.param([[*BY_ETH0, *A_MARK], [*BY_ETH0, Effect.REFUSES]], False, id="then refuses"),
        pytest.param([[*BY_ETH0, *A_MARK, Effect.COUNTS]], False, id="counts"),
        pytest.param([[*BY_ETH0, Effect.REFUSES]], False, id="whatever the mark"),
        pytest.param([[*BY_ETH0, *ANOTHER_MARK, Effect.REFUSES]], False, id="without the mark"),
    ],
)
def test_a_rule_that_refuses_marks_by_the_output_alone(
    rules: Sequence[Rule], reported: bool
) -> None:
    """What the router sends has no mark: one that refuses packets without it refuses all."""
    assert mark_checks([table(*rules)]) == ({"eth0": MARKED} if reported else {})


def test_a_refusal_of_marks_behind_a_jump() -> None:
    refusing = {"x": [[Effect.REFUSES]]}
    marked = {"x": [[*A_MARK, Effect.REFUSES]]}
    clause = MARKED.replace("chain out", "chain x")
    for rules in (
        table([*BY_ETH0, *A_MARK, Jump("x")], chains=refusing),
        table([*BY_ETH0, Jump("x")], chains=marked),
    ):
        assert mark_checks([rules]) == {"eth0": clause}
    for rules in (
        table([*BY_ETH0, *A_MARK, Jump("x")], [*BY_ETH0, Jump("x")], chains=refusing),
        table([*BY_ETH0, Jump("x")], [*BY_TUN, Jump("x")], chains=marked),
    ):
        assert mark_checks([rules]) == {}


def test_each_output_refuses_marks_by_itself() -> None:
    rules = table([*BY_ETH0, *A_MARK, Effect.REFUSES])
    assert mark_checks([rules], WG0, ETH0) == {"eth0": MARKED}
    assert mark_checks([rules], WG0) == {}


@pytest.mark.parametrize("effect", [Effect.SETS_MARK, Effect.UNKNOWN])
@pytest.mark.parametrize("chain", ["out", "pre"])
def test_where_the_host_sets_marks_itself(effect: Effect, chain: str) -> None:
    """Then the mark need not be a program's, and is set for what the router sends too."""
    refusing = table([*BY_ETH0, *A_MARK, Effect.REFUSES])
    setting = Table("t", (4, 6), {chain: [[*TO_THIS_MACHINE, effect]]}, ["out"], ["pre"])
    assert mark_checks([refusing, setting]) == {}


def test_an_unknown_tun() -> None:
    rules = table([*BY_ETH0, *A_MARK, Effect.REFUSES])
    assert mark_checks([rules], tun="") == {"eth0": MARKED}


# Refusals

REFUSED = "nftables table inet t refuses some of what leaves (chain out)"
DROPPED_BY_ETH0 = [*BY_ETH0, Effect.REFUSES]


@pytest.mark.parametrize(
    ("effect", "is_obstacle", "is_refusal"),
    [
        (Effect.REFUSES, False, True),
        (Effect.IS_UNREPORTED, False, True),
        (Effect.SEES_EGRESS, False, True),
        (Effect.MATCHES_OWNER, False, False),
        (Effect.SETS_MARK, False, False),
        (Effect.COUNTS, True, False),
        (Effect.QUEUES, True, False),
    ],
)
def test_what_keeps_packets_from_being_forwarded_is_no_obstacle(
    effect: Effect, is_obstacle: bool, is_refusal: bool
) -> None:
    clause = f"nftables table inet t {effect.value} (chain out)"
    assert obstacle([table([effect])], ETH0) == (clause if is_obstacle else None)
    assert refusal([table([effect])], ETH0) == (clause if is_refusal else None)


@pytest.mark.parametrize(
    ("rules", "refused"),
    [
        ([[Effect.REFUSES]], True),
        ([DROPPED_BY_ETH0], True),
        ([[NAME, Compare(8, b"eth"), Effect.REFUSES]], True),
        ([[NAME, Compare(8, padded("wlan0")), Effect.REFUSES]], False),
        ([[NAME, Compare(8, padded("eth0"), equal=False), Effect.REFUSES]], False),
        ([[NAME, Compare(8, padded("wlan0"), equal=False), Effect.REFUSES]], True),
        ([[*IPV4, SOURCE, Compare(8, b"\xac\x11"), Effect.REFUSES]], False),
        ([[Load(8, Field.OTHER), Compare(8, b"\x01"), Effect.REFUSES]], True),
        ([[*TO_THIS_MACHINE, Effect.REFUSES]], False),
        ([[*ITS_OWNER, Effect.REFUSES]], True),
        ([BY_OTHERS, [], ITS_OWNER], False),
        ([[NAME, Choose(8, [Branch(Effect.REFUSES, padded("eth0"))])]], True),
        ([[NAME, Choose(8, [Branch(Effect.REFUSES, padded("wlan0"))])]], False),
        ([[NAME, Choose(8, [Branch(Effect.REFUSES)])]], True),
        ([[Load(8, Field.OTHER), Choose(8, [Branch(Effect.REFUSES, b"\x01")])]], True),
        ([[Load(8, Field.OTHER), Choose(8, [])]], False),
    ],
)
def test_a_verdict_that_a_packet_may_meet(rules: Sequence[Rule], refused: bool) -> None:
    assert refusal([table(*rules)], ETH0) == (REFUSED if refused else None)
    assert obstacle([table(*rules)], ETH0) is None


def test_each_output_is_refused_by_itself() -> None:
    assert judge([table(DROPPED_BY_ETH0)], [WG0, ETH0]).refusals == {"eth0": REFUSED}
    assert judge([table([Effect.REFUSES])], [WG0, ETH0]).refusals.keys() == {"wg0", "eth0"}


def test_a_refusal_behind_a_jump() -> None:
    rules = table([*BY_ETH0, Jump("x")], chains={"x": [[Effect.REFUSES]]})
    assert refusal([rules], ETH0) == REFUSED.replace("chain out", "chain x")
    assert refusal([rules], WG0) is None
    assert refusal([table([Jump("y")], chains={"x": [[Effect.REFUSES]]})], ETH0) is None


def test_a_refusal_beside_an_obstacle() -> None:
    rules = judge([table([Effect.COUNTS, Effect.REFUSES])], [ETH0])
    assert rules == HostRules({"eth0": COUNTS}, refusals={"eth0": REFUSED})


def test_the_refusal_of_one_version() -> None:
    only_v4 = DirectOutput("eth0", 2, [V4])
    assert refusal([table([Effect.REFUSES], versions=[6])], only_v4) is None
    assert refusal([table([Effect.REFUSES], versions=[6])], ETH0) == REFUSED
    assert refusal([table([Effect.REFUSES])], DirectOutput("eth0", 2, [])) is None


def test_what_refuses_arriving_packets_is_no_refusal() -> None:
    arriving = Table("t", (4, 6), {"pre": [[Effect.REFUSES]]}, [], ["pre"])
    assert judge([arriving], [ETH0]) == HostRules()


# What arrives


def test_requests_to_this_machine_may_be_translated() -> None:
    """As published ports of Docker are; what leaves is not."""
    rules: dict[str, Sequence[Rule]] = {
        "pre": [[*TO_THIS_MACHINE, Jump("docker")]],
        "docker": [[Effect.TRANSLATES]],
    }
    table = Table("nftables table ip nat", (4,), rules, [], ["pre"])
    assert judge([table], [ETH0]) == HostRules(translates_requests=True)
