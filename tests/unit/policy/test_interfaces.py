"""The interface that packets of a policy leave by, and what it lacks where there is none."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_interface

import pytest

from router.policy.interfaces import (
    Lack,
    OutboundFacts,
    default_holder,
    interfaces_by_policy,
    lack_of,
    leaves_by,
    usable_interfaces,
)
from router.policy.network import Interface, Network
from tests.unit.check.networks import route
from tests.unit.policy.configs import config

ETH0 = Interface(
    "eth0", 2, True, 1500, (ip_interface("192.0.2.2/24"), ip_interface("2001:db8:2::2/64"))
)
WG0 = Interface("wg0", 3, True, 1420, (ip_interface("10.8.0.2/32"), ip_interface("fe80::2/64")))
PRESENT = {"eth0": ETH0, "wg0": WG0}
HOLDERS = {4: "eth0", 6: None}


def test_a_named_interface_is_used_for_the_families_it_has_a_source_for() -> None:
    assert usable_interfaces("eth0", PRESENT, HOLDERS) == {4: ETH0, 6: ETH0}
    assert usable_interfaces("wg0", PRESENT, HOLDERS) == {4: WG0}


def test_default_is_the_holder_of_the_default_route_of_each_family() -> None:
    assert usable_interfaces("default", PRESENT, HOLDERS) == {4: ETH0}
    assert usable_interfaces("default", PRESENT, {4: "wg0", 6: "eth0"}) == {4: WG0, 6: ETH0}
    assert usable_interfaces("default", PRESENT, {4: "tun9", 6: None}) == {}


@pytest.mark.parametrize(
    ("wanted", "present", "lack"),
    [
        ("default", PRESENT, Lack.DEFAULT_ROUTE),
        ("wg1", PRESENT, Lack.INTERFACE),
        ("wg0", {"wg0": replace(WG0, up=False)}, Lack.LINK),
        ("wg0", {"wg0": replace(WG0, addresses=WG0.addresses[1:])}, Lack.ADDRESS),
    ],
)
def test_what_an_interface_that_cannot_be_used_lacks(
    wanted: str, present: dict[str, Interface], lack: Lack
) -> None:
    assert usable_interfaces(wanted, present, {4: None, 6: None}) == {}
    assert lack_of(wanted, present) is lack


def test_a_named_interface_is_that_of_the_policy_also_while_it_is_missing() -> None:
    assert leaves_by("wg0", "wg0", None)
    assert leaves_by("default", "eth0", OutboundFacts(1500, ["eth0"]))
    assert not leaves_by("default", "eth0", None)
    assert not leaves_by(None, "eth0", None)


def test_the_best_default_route_of_the_main_table_counts() -> None:
    routes = (
        route("0.0.0.0/0 wg0", table=100),
        route("0.0.0.0/0 gone0"),
        route("0.0.0.0/0 tun0")._replace(ours=True),
        route("0.0.0.0/0 wg0")._replace(metric=200),
        route("0.0.0.0/0 eth0")._replace(metric=100),
    )
    network = Network(PRESENT, routes)
    assert default_holder(network.routes, network.interfaces, 4) == "eth0"
    assert default_holder(network.routes, network.interfaces, 6) is None


def test_policies_without_an_interface_have_no_entry() -> None:
    policies = config().policies
    assert set(interfaces_by_policy(policies, Network())) == {
        name for name, policy in policies.items() if policy.interface is not None
    }
