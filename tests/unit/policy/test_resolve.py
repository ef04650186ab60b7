"""What applies when a policy is down."""

from __future__ import annotations

from dataclasses import replace

import pytest

from router.config.model import Config, Policy, PolicyType, Proxy
from router.policy.resolve import carrying, effective, policy_of
from tests.unit.policy.configs import config, rule


def with_policies(**on_down: str | None) -> Config:
    outbounds = {
        name: Policy(name, PolicyType.VPN, interface=name, on_down=target)
        for name, target in on_down.items()
    }
    base = config(rule("home", "10.0.0.0/8"), default="drop")
    return replace(base, policies={**base.policies, **outbounds})


def test_a_policy_that_is_up_applies_itself() -> None:
    assert effective(with_policies(a="drop"), "a", lambda _: True) == "a"


@pytest.mark.parametrize("built_in", ["reply", "drop", "reject", "bypass"])
def test_built_in_policies_are_never_down(built_in: str) -> None:
    assert effective(with_policies(), built_in, lambda _: False) == built_in


def test_a_down_policy_is_replaced_by_the_first_that_is_up() -> None:
    rules = with_policies(a="b", b="c", c="reject")
    assert effective(rules, "a", {"a": False, "b": False, "c": True}.__getitem__) == "c"


def test_a_down_policy_ends_in_what_on_down_names() -> None:
    assert effective(with_policies(a="b", b="drop"), "a", lambda _: False) == "drop"


def test_without_on_down_traffic_is_rejected() -> None:
    assert effective(with_policies(a=None), "a", lambda _: False) == "reject"


def test_a_loop_or_an_unknown_name_is_rejected() -> None:
    assert effective(with_policies(a="b", b="a"), "a", lambda _: False) == "reject"
    assert effective(with_policies(a="nowhere"), "a", lambda _: False) == "reject"


def test_index_0_is_the_default() -> None:
    rules = with_policies()
    assert policy_of(rules, 0) == "drop"
    assert policy_of(rules, 1) == "home"


def test_icmp_gets_the_policy_that_a_proxy_names() -> None:
    rules = with_policies(a="drop", b="drop")
    proxied = replace(
        rules,
        policies={
            **rules.policies,
            "p": Policy("p", PolicyType.SOCKS5, on_down="a", proxy=Proxy("::1", 1080, icmp="q")),
            "q": Policy(
                "q", PolicyType.SOCKS5, on_down="b", proxy=Proxy("::1", 1081, icmp="reply")
            ),
            "r": Policy("r", PolicyType.SOCKS5, on_down="b", proxy=Proxy("::1", 1082, icmp="r")),
        },
    )
    up = {"a": True, "b": True, "p": True, "q": True, "r": True}
    assert carrying(proxied, "p", up.__getitem__, is_icmp=False) == "p"
    assert carrying(proxied, "p", up.__getitem__, is_icmp=True) == "reply"
    assert carrying(proxied, "p", {**up, "q": False}.__getitem__, is_icmp=True) == "b"
    assert carrying(proxied, "r", up.__getitem__, is_icmp=True) == "reject"
