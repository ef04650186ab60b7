"""Lists as sets of addresses, against netaddr's IPSet."""

from __future__ import annotations

from functools import reduce
from operator import or_, sub

from hypothesis import given, settings
from hypothesis import strategies as st
from netaddr import IPNetwork, IPSet

from router.config.model import PrefixList
from router.policy.list_algebra import merged, without
from router.policy.prefixes import format_prefix, unpack
from tests.unit.examples import examples
from tests.unit.policy.configs import prefix_list, prefixes, ranges

drawn_lists = st.lists(
    st.sampled_from([4, 6]).flatmap(lambda version: st.one_of(prefixes(version), ranges(version))),
    max_size=8,
).map(lambda drawn: prefix_list(*drawn))


def by_netaddr(found: PrefixList, version: int) -> IPSet:
    packed = list(found.packed(version))
    for each in found.ranges:
        packed += each.packed if each.version == version else ()
    return IPSet(IPNetwork(unpack(each), version=version) for each in packed)


def texts(*sets: IPSet) -> list[str]:
    return [
        format_prefix(network.version, network.first, network.prefixlen)
        for each in sets
        for network in each.iter_cidrs()
    ]


@settings(max_examples=examples(150))
@given(st.lists(drawn_lists, min_size=1, max_size=3))
def test_merged_is_the_union(lists: list[PrefixList]) -> None:
    by_family = [[by_netaddr(each, version) for each in lists] for version in (4, 6)]
    assert list(merged(lists)) == texts(*(reduce(or_, sets) for sets in by_family))


@settings(max_examples=examples(150))
@given(drawn_lists, st.lists(drawn_lists, max_size=3))
def test_without_is_the_difference(first: PrefixList, others: list[PrefixList]) -> None:
    by_family = [[by_netaddr(each, version) for each in (first, *others)] for version in (4, 6)]
    assert list(without(first, others)) == texts(*(reduce(sub, sets) for sets in by_family))


def test_the_ends_of_both_families() -> None:
    everything = prefix_list("0.0.0.0/0", "::/0")
    assert list(merged([everything])) == ["0.0.0.0/0", "::/0"]
    assert list(without(everything, [prefix_list("::/1", "128.0.0.0/1")])) == [
        "0.0.0.0/1",
        "8000::/1",
    ]
    assert list(
        without(prefix_list("0.0.0.0/31", "::/127"), [prefix_list("0.0.0.1/32", "::/128")])
    ) == [
        "0.0.0.0/32",
        "::1/128",
    ]
    assert list(merged([prefix_list("::1:0/128")])) == ["::1:0/128"]
    last = prefix_list("255.255.255.255/32", "::/128")
    assert list(merged([last])) == ["255.255.255.255/32", "::/128"]
    assert list(merged([])) == []
