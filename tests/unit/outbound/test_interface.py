"""What a change of an interface does to the flows by it."""

from __future__ import annotations

from ipaddress import ip_interface

import pytest

from router.outbound.interface import lost_families
from router.policy.network import Interface


def of(*addresses: str, index: int = 3, mtu: int = 1500) -> Interface:
    return Interface("eth0", index, up=True, mtu=mtu, addresses=tuple(map(ip_interface, addresses)))


ETH0 = of("192.0.2.2/24", "2001:db8:2::2/64")
NARROWER = of("192.0.2.2/24", "2001:db8:2::2/64", mtu=1400)
RICHER = of("192.0.2.3/24", "192.0.2.2/24", "2001:db8:2::2/64")
RENUMBERED = of("192.0.2.3/24", "2001:db8:2::2/64")
ANOTHER = of("192.0.2.2/24", "2001:db8:2::2/64", index=4)
BOTH = {4: ETH0, 6: ETH0}


@pytest.mark.parametrize(
    ("after", "lost"),
    [
        (BOTH, set()),
        ({4: NARROWER, 6: NARROWER}, set()),
        ({4: RICHER, 6: RICHER}, set()),
        ({4: RENUMBERED, 6: RENUMBERED}, set()),
        ({4: ANOTHER, 6: ANOTHER}, {4, 6}),
        ({4: ETH0}, {6}),
        ({}, {4, 6}),
    ],
    ids=["nothing", "another MTU", "one more", "renumbered", "another", "no IPv6", "gone"],
)
def test_flows_are_lost_when_answers_can_no_longer_arrive(
    after: dict[int, Interface], lost: set[int]
) -> None:
    assert lost_families(BOTH, after) == lost


def test_a_missing_interface_has_lost_no_flows() -> None:
    assert not lost_families({}, BOTH)
