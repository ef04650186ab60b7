"""VPN endpoints that rules send into their own VPN are left out of the routes; no others are."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.config.loader import load
from router.config.model import Config
from router.policy.interfaces import OutboundFacts
from router.policy.match.table import RuleSet
from router.policy.network import Endpoint
from router.policy.prefixes import HOST_MASKS
from router.policy.routes.capture import is_captured, plan_routes
from router.policy.routes.plan import make_plan
from router.policy.routes.route import Route
from tests.unit.policy.configs import configs

WG0 = OutboundFacts(1420, ["wg0"])


def facts(policy: str) -> OutboundFacts | None:
    return WG0 if policy in ("office", "home") else None


def config_of(directory: Path, rules: str) -> Config:
    file = directory / "rules.yaml"
    file.write_text(
        "version: 1\npolicies:\n"
        "  home: {type: direct, interface: default}\n"
        "  lan: {type: direct, interface: eth0}\n"
        "  office: {type: vpn, interface: wg0}\n"
        f"{rules}\n",
        encoding="utf-8",
    )
    config = load(file).config
    assert config is not None
    return config


def endpoint(address: str) -> Endpoint:
    parsed = ip_address(address)
    return Endpoint("wg0", parsed.version, int(parsed), 51820)


@pytest.mark.parametrize(
    ("rules", "exempt"),
    [
        ("default: office", True),
        ("default: home", True),  # the VPN holds the default route
        ("default: lan", False),
        ("default: bypass", False),
        ("default: reject", False),
        ("rules: [{cidr: 203.0.113.0/24, policy: lan}]\ndefault: office", False),
        ("rules: [{cidr: 203.0.113.0/24, policy: office}]", True),
        ("rules: [{cidr: 203.0.113.0/24, protocol: tcp, policy: lan}]\ndefault: office", True),
        ("rules: [{cidr: 203.0.113.0/24, port: 51820, policy: lan}]\ndefault: office", False),
    ],
)
def test_what_would_loop_is_exempt(tmp_path: Path, rules: str, exempt: bool) -> None:
    config = config_of(tmp_path, rules)
    endpoints = [endpoint("203.0.113.2"), endpoint("203.0.113.2")]
    plan = make_plan(config, RuleSet.build(config), facts, endpoints)
    assert plan.exempt == ((endpoints[0],) if exempt else ())
    if exempt:
        assert not any(covers(route, 4, endpoints[0].address) for route in plan.routes)


def covers(route: Route, version: int, address: int) -> bool:
    return route.version == version and address ^ route.first <= HOST_MASKS[version][route.length]


ADDRESSES = st.one_of(
    st.tuples(st.just(4), st.integers(0, 2**32 - 1)),
    st.tuples(st.just(6), st.integers(0, 2**128 - 1)),
)


@given(st.data())
def test_a_hole_is_one_address_wide(data: st.DataObject) -> None:
    config = data.draw(configs())
    rule_set = RuleSet.build(config)
    edges = [
        (v, at)
        for v in (4, 6)
        for first, last, _ in rule_set.table(v).ranges
        for at in (first, last)
    ]
    places = st.one_of(ADDRESSES, st.sampled_from(edges))
    holes = frozenset(data.draw(st.lists(places, max_size=4)))
    mtus = data.draw(st.sampled_from([lambda _: 1400, lambda policy: 1300 + len(policy)]))
    routes = plan_routes(config, rule_set, mtus, holes)
    without = plan_routes(config, rule_set, mtus)
    probes = {
        (v, at + step)
        for v, at in (*holes, *data.draw(st.lists(places, max_size=8)))
        for step in (-1, 0, 1)
    }
    for version, address in probes:
        if not 0 <= address < 1 << (32 if version == 4 else 128):
            continue
        expected = (
            is_captured(config, rule_set, version, address) and (version, address) not in holes
        )
        chosen = longest(routes, version, address)
        assert (chosen is not None) == expected
        if chosen is not None:
            before = longest(without, version, address)
            assert before is not None
            assert chosen.mtu == before.mtu


def longest(routes: list[Route], version: int, address: int) -> Route | None:
    matching = [route for route in routes if covers(route, version, address)]
    return max(matching, key=lambda route: route.length, default=None)
