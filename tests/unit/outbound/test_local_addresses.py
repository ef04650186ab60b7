"""Which interface an address of this machine belongs to."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface

from router.outbound.local_addresses import LocalAddresses
from router.policy.network import Interface

SHARED = ip_address("10.5.0.2")


def tunnel(name: str, index: int, *addresses: str) -> Interface:
    return Interface(
        name,
        index,
        up=True,
        mtu=1420,
        addresses=tuple(map(ip_interface, addresses or [f"{SHARED}/32"])),
    )


def owner(found: LocalAddresses) -> str:
    return found.owners[SHARED.packed].name


def test_an_address_that_a_second_interface_gets_stays_with_the_first() -> None:
    """Wherever that one stands among them, and whatever its name becomes."""
    first, second = tunnel("wg0", 4), tunnel("wg1", 5)
    for both in ((first, second), (second, first)):
        addresses = LocalAddresses("tun11")
        addresses.refresh({"wg0": first})
        assert not addresses.refresh({each.name: each for each in both})
        assert owner(addresses) == "wg0"
        addresses.refresh({"home": tunnel("home", 4), "wg1": second})
        assert owner(addresses) == "home"


def test_the_second_has_it_when_the_first_has_it_no_more() -> None:
    addresses = LocalAddresses("tun11")
    addresses.refresh({"wg0": tunnel("wg0", 4)})
    addresses.refresh({"wg0": tunnel("wg0", 4), "wg1": tunnel("wg1", 5)})
    assert not addresses.refresh({"wg0": tunnel("wg0", 4, "10.5.0.3/32"), "wg1": tunnel("wg1", 5)})
    assert owner(addresses) == "wg1"
    assert not addresses.gone
    assert addresses.refresh({"wg0": tunnel("wg0", 4, "10.5.0.3/32")})
    assert addresses.gone == {SHARED.packed}


def test_an_address_of_the_tun_is_none() -> None:
    addresses = LocalAddresses("wg0")
    addresses.refresh({"wg0": tunnel("wg0", 4)})
    assert not addresses.has(SHARED.packed)
