"""The interface that packets of a policy leave by, and what it lacks where there is none."""

from __future__ import annotations

from ipaddress import ip_interface

import pytest

from router.policy.interfaces import (
    Lack,
    OutboundFacts,
    interfaces_by_policy,
    lack_of,
    leaves_by,
    usable_interfaces,
)
from router.policy.network import Interface, Network
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
        ("wg0", {"wg0": WG0._replace(up=False)}, Lack.LINK),
        ("wg0", {"wg0": WG0._replace(addresses=WG0.addresses[1:])}, Lack.ADDRESS),
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


def test_an_alternative_name_is_a_name() -> None:
    present = {"eth0": ETH0._replace(alternative_names=("uplink", "enp1s0"))}
    assert usable_interfaces("enp1s0", present, HOLDERS) == {4: present["eth0"], 6: present["eth0"]}
    assert leaves_by("uplink", "eth0", OutboundFacts(1500, ["eth0"]))


def test_policies_without_an_interface_have_no_entry() -> None:
    policies = config().policies
    assert set(interfaces_by_policy(policies, Network())) == {
        name for name, policy in policies.items() if policy.interface is not None
    }
