"""Source ranges, against asking for every address of interest."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Interface, ip_address, ip_interface
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from router.policy.cells import (
    MOST_CELLS,
    Choice,
    parting_blocks,
    source_ranges,
)
from router.policy.network import SourceRange
from tests.unit.examples import examples

END = {4: (1 << 32) - 1, 6: (1 << 128) - 1}
SKIPPED = {
    4: ("0.", "127.", "224.", "255.255.255.255"),
    6: ("::", "fe8", "fe9", "fea", "feb", "ff"),
}


def chosen(ranges: tuple[SourceRange, ...], address: int) -> Choice | None:
    for first, last, source, metrics in ranges:
        if first <= address <= last:
            return source, metrics
    return None


blocks = st.lists(
    st.tuples(st.integers(1, 223), st.integers(8, 32), st.sampled_from([1, 2, None])), max_size=8
)


@settings(max_examples=examples(200))
@given(blocks)
def test_each_address_gets_the_answer_for_it(routes: list[tuple[int, int, int | None]]) -> None:
    """The kernel is a longest-prefix match; the boundaries of its routes are those of the parts."""
    table = {
        (first << 24 & ~((1 << 32 - length) - 1), length): source
        for first, length, source in routes
        if first != 127
    }

    def ask(destination: int) -> Choice | None:
        matching = [
            (length, source)
            for (first, length), source in table.items()
            if destination >> 32 - length == first >> 32 - length
        ]
        source = max(matching, key=lambda each: each[0])[1] if matching else 9
        return None if source is None else (source, ())

    ranges = source_ranges(4, table, ask)
    assert all(first <= last for first, last, *_ in ranges)
    for before, after in pairwise(ranges):
        assert before.last < after.first
        assert before.last + 1 < after.first or before[2:] != after[2:]
    for first, length in table:
        for address in (
            first - 1,
            first,
            first + (1 << 32 - length) - 1,
            first + (1 << 32 - length),
        ):
            if not str(ip_address(address)).startswith(SKIPPED[4]):
                assert chosen(ranges, address) == ask(address)


@pytest.mark.parametrize("version", [4, 6])
def test_one_source_is_one_range(version: int) -> None:
    """What no packet of ours is sent to does not part it."""
    ranges = source_ranges(version, [(1 << 24, 8)], lambda _: (7, ()))
    assert ranges == (SourceRange(0, END[version], 7),)


def test_no_source_is_no_range() -> None:
    assert source_ranges(4, [(10 << 24, 8)], lambda _: None) == ()


def test_too_many_parts_are_asked_for_once() -> None:
    asked = []

    def ask(destination: int) -> Choice:
        asked.append(destination)
        return 7, ()

    boundaries = [(number << 12, 24) for number in range(MOST_CELLS)]
    assert source_ranges(4, boundaries, ask) == (SourceRange(0, END[4], 7),)
    assert asked == [int(ip_address("198.51.100.1"))]


def longest_common(addresses: list[IPv6Interface], destination: int) -> int:
    """RFC 6724, section 5, rule 8; the first of equals."""

    def common(own: IPv6Interface) -> int:
        return min(128 - (int(own.ip) ^ destination).bit_length(), own.network.prefixlen)

    return int(max(addresses, key=common).ip)


own_addresses = st.lists(
    st.builds(
        lambda bits, length: IPv6Interface((IPv6Address(0x2001 << 112 | bits << 64 | 1), length)),
        st.integers(0, 255),
        st.sampled_from([48, 60, 62, 64]),
    ),
    min_size=1,
    max_size=4,
    unique=True,
)


@settings(max_examples=examples(200))
@given(own_addresses, st.integers(0, 255))
@example([IPv6Interface("2001:0:0:18::1/60"), IPv6Interface("2001:0:0:19::1/64")], 0x14)
def test_addresses_of_an_interface_part_where_the_longer_match_changes(
    addresses: list[IPv6Interface], subnet: int
) -> None:
    ranges = source_ranges(
        6, parting_blocks(addresses), lambda each: (longest_common(addresses, each), ())
    )
    for bits in {subnet, *(int(each.ip) >> 64 & 255 for each in addresses)}:
        destination = 0x2001 << 112 | bits << 64 | 5
        assert chosen(ranges, destination) == (longest_common(addresses, destination), ())


def test_an_address_alone_parts_nothing_but_its_network() -> None:
    own = ip_interface("2001:db8:2::2/64")
    assert set(parting_blocks([own])) == {(0x20010DB8_0002 << 80, 64)}
