"""Rules, maps and chains of nftables, as an output of eth0 sees them."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from router.platform.linux.host_rules import constants as nf
from router.platform.linux.host_rules.egress import egress_tables
from router.platform.linux.host_rules.expressions import Scope, StepReader, verdict
from router.platform.linux.host_rules.nftables import (
    BaseChain,
    TableKey,
    base_chain,
    branches,
    elements,
)
from router.platform.linux.netlink.messages import attributes, pack_attribute
from router.policy.host_rules.judgement import judge
from router.policy.host_rules.model import Branch, DirectOutput, Effect, Jump, Table
from tests.unit.platform.host_rules.recorded import CHAINS, NFT, VERDICT_MAPS

ADDRESSES = [ip_address("192.0.2.5"), ip_address("2001:db8::5")]


def output(name: str) -> DirectOutput:
    return DirectOutput(name, 2, ADDRESSES)


@pytest.mark.parametrize(
    ("rule", "refuses"),
    [
        ('oifname "wlan0" drop', False),
        ("reject", True),
        ("ct state invalid drop", True),
        ("ip daddr @blocked drop", True),
        ("tcp dport 25 accept", False),
        ("meta skuid 3 reject", True),
    ],
)
def test_a_rule_that_refuses(rule: str, refuses: bool) -> None:
    rules = judge([read(rule)], [output("eth0")])
    clause = f"t {Effect.REFUSES.value} (chain out)"
    assert rules.refusals == ({"eth0": clause} if refuses else {})
    assert rules.obstacle is None


@pytest.mark.parametrize(
    ("rule", "reported"),
    [
        ('oifname "eth0" meta mark 7 drop', True),
        ('oifname "eth0" meta mark & 0xff00 == 0x100 reject', True),
        ('oifname "eth0" socket mark 7 drop', True),
        ('oifname "eth0" meta priority 1:7 drop', True),
        ('oifname "eth0" meta mark != 7 drop', False),
        ('oifname "eth0" meta mark { 7, 8 } drop', False),
    ],
)
def test_a_rule_that_refuses_a_mark(rule: str, reported: bool) -> None:
    refusing = read(rule)
    clause = f"t {Effect.REFUSES_MARK.value} (chain out)"
    assert judge([refusing], [output("eth0")]).mark_checks == ({"eth0": clause} if reported else {})
    assert judge([refusing], [output("wlan0")]).mark_checks == {}
    for setting in ("meta mark set ct mark", "meta priority set 3"):
        assert judge([refusing, read(setting)], [output("eth0")]).mark_checks == {}
    saving = read("ct mark set meta mark")
    assert judge([saving, refusing], [output("eth0")]).mark_checks.keys() == (
        {"eth0"} if reported else set()
    )


def read(rule: str) -> Table:
    steps = StepReader(Scope({}, frozenset())).rule(elements(bytes.fromhex(NFT[rule])))
    return Table("t", (4, 6), {"out": [steps]}, ["out"])


@pytest.mark.parametrize(
    ("code", "found"),
    [
        (nf.NF_DROP, [Effect.REFUSES]),
        (nf.NF_ACCEPT, []),
        (nf.NF_QUEUE, [Effect.QUEUES]),
        (3 << 16 | nf.NF_QUEUE, [Effect.QUEUES]),
        (nf.NFT_RETURN, []),
        (None, []),
    ],
)
def test_a_verdict(code: int | None, found: list[Effect]) -> None:
    payload = b"" if code is None else (code & 0xFFFFFFFF).to_bytes(4, "big")
    data = attributes(pack_attribute(nf.NFTA_VERDICT_CODE, payload)) if payload else {}
    assert list(verdict(data)) == found


@pytest.mark.parametrize(
    ("name", "effect"),
    [("queue", Effect.QUEUES), ("synproxy", Effect.ALTERS), ("tproxy", Effect.TRANSLATES)],
)
def test_an_expression_that_kernels_may_lack(name: str, effect: Effect) -> None:
    """The end-to-end tests can lay no such rule everywhere."""
    expression = pack_attribute(nf.NFTA_EXPR_NAME, name.encode() + b"\0")
    steps = StepReader(Scope({}, frozenset())).rule([expression])
    rules = judge([Table("t", (4, 6), {"out": [steps]}, ["out"])], [output("eth0")])
    assert rules.obstacle == f"t {effect.value} (chain out)"


def test_a_verdict_map() -> None:
    listing = VERDICT_MAPS["ct state vmap { invalid : drop, established : accept, new : jump x }"]
    found = list(branches(bytes.fromhex(listing), has_intervals=False))
    invalid, new = (1).to_bytes(4, "little"), (8).to_bytes(4, "little")
    assert found == [Branch(Jump("x"), new), Branch(Effect.REFUSES, invalid)]


def test_a_verdict_map_of_intervals() -> None:
    """Without those that end an interval."""
    listing = VERDICT_MAPS["tcp dport vmap { 25 : drop, 80-90 : accept, 100-110 : goto x }"]
    found = list(branches(bytes.fromhex(listing), has_intervals=True))
    assert found == [Branch(Jump("x")), Branch(Effect.REFUSES)]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("a chain without a hook", []),
        (
            "hook output, policy drop",
            [BaseChain(TableKey(1, "t"), "output", nf.NF_INET_LOCAL_OUT, drops=True)],
        ),
        (
            "hook postrouting, policy accept",
            [BaseChain(TableKey(1, "t"), "postrouting", nf.NF_INET_POST_ROUTING, drops=False)],
        ),
    ],
)
def test_a_base_chain(words: str, found: list[BaseChain]) -> None:
    family, listing = CHAINS[words]
    assert list(base_chain(family, attributes(bytes.fromhex(listing)))) == found


@pytest.mark.parametrize(
    ("words", "chain", "interfaces"),
    [
        ('hook egress device "eth0"', "one", {"eth0"}),
        ('hook egress devices = { "eth0", "eth1" }', "two", {"eth0", "eth1"}),
        ('hook egress device "eth*"', "prefix", {"eth", "eth0", "eth1"}),
        ('hook ingress device "eth0"', "in", set()),
    ],
)
def test_an_egress_hook(words: str, chain: str, interfaces: set[str]) -> None:
    family, listing = CHAINS[words]
    assert family == nf.NFPROTO_NETDEV
    tables = list(egress_tables(attributes(bytes.fromhex(listing))))
    rules = judge(tables, [output(name) for name in ("eth", "eth0", "eth1", "wlan0", "veth0")])
    clause = f"nftables table netdev t {Effect.SEES_EGRESS.value} (chain {chain})"
    assert rules.refusals == dict.fromkeys(interfaces, clause)
    assert rules.obstacle is None


@pytest.mark.parametrize(
    ("hook", "interfaces"),
    [
        (pack_attribute(nf.NFTA_HOOK_DEV, b"eth0\0"), {"eth0"}),
        (
            pack_attribute(nf.NFTA_HOOK_DEVS, pack_attribute(nf.NFTA_DEVICE_NAME, b"eth")),
            {"eth0", "eth1"},
        ),
        (pack_attribute(nf.NFTA_HOOK_DEVS, b""), set()),
    ],
    ids=["one interface", "a name that has no end", "no interface"],
)
def test_the_egress_hook_of_an_older_kernel(hook: bytes, interfaces: set[str]) -> None:
    number = pack_attribute(nf.NFTA_HOOK_HOOKNUM, nf.NF_NETDEV_EGRESS.to_bytes(4, "big"))
    chain = attributes(pack_attribute(nf.NFTA_CHAIN_HOOK, number + hook))
    rules = judge(egress_tables(chain), [output("eth0"), output("eth1"), output("wlan0")])
    assert rules.refusals.keys() == interfaces
