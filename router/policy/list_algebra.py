"""List files as sets of addresses: what is in all of them together, or in one and not in others.

Always true: results are the fewest networks, ascending, IPv4 before IPv6. The algebra is that of
netaddr's IPSet, which takes some 10 us for a network; it is for commands, not for a router that
runs.

Must not know: files, lines, rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from netaddr import IPNetwork, IPSet

from router.config.model import PrefixList
from router.policy.prefixes import unpack


def merged(lists: Iterable[PrefixList]) -> list[str]:
    """The networks of all addresses that are in any of the lists."""
    return _texts(_addresses(*lists))


def without(first: PrefixList, others: Iterable[PrefixList]) -> list[str]:
    """The networks of the addresses of the first list that are in none of the others."""
    return _texts(_addresses(first) - _addresses(*others))


def _addresses(*lists: PrefixList) -> IPSet:
    return IPSet(network for each in lists for network in _networks(each))


def _networks(prefixes: PrefixList) -> Iterator[IPNetwork]:
    for version in (4, 6):
        for packed in prefixes.packed(version):
            yield IPNetwork(unpack(packed), version=version)
    for each in prefixes.ranges:
        for packed in each.packed:
            yield IPNetwork(unpack(packed), version=each.version)


def _texts(addresses: IPSet) -> list[str]:
    return [str(network) for network in addresses.iter_cidrs()]
