"""Which policies' source addresses a route carries."""

from __future__ import annotations

import pytest

from router.policy.interfaces import OutboundFacts
from router.policy.network import SourceRange
from router.policy.routes.plan import route_sources
from tests.unit.policy.configs import config

HOME = (SourceRange(0, (1 << 32) - 1, 1),)
OFFICE = (SourceRange(0, (1 << 32) - 1, 2),)
UP = {
    "home": OutboundFacts(1500, ["eth0"], {4: HOME}),
    "office": OutboundFacts(1420, ["wg0"], {4: OFFICE}),
}


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        (["home"], HOME),
        (["office"], OFFICE),
        (["home", "drop", "reject", "reply"], HOME),
        (["home", "office"], ()),
        (["home", "bypass"], ()),
        (["bypass"], ()),
        (["drop", "reply"], ()),
    ],
)
def test_the_one_outbound_that_carries_packets_gives_the_source(
    policies: list[str], expected: tuple[SourceRange, ...]
) -> None:
    assert route_sources(config(), 4, policies, UP.get) == expected
    assert route_sources(config(), 6, policies, UP.get) == ()


def test_a_policy_that_is_down_gives_none() -> None:
    """What it leads to counts: here packets are rejected."""
    down = {"home": UP["home"]}
    assert route_sources(config(), 4, ["office"], down.get) == ()
    assert route_sources(config(), 4, ["home", "office"], down.get) == HOME
