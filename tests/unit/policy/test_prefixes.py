"""Ranges and prefixes, against the ipaddress module."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network, summarize_address_range

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.config.ranges import split_range
from router.policy.prefixes import (
    HOST_MASKS,
    format_address,
    format_prefix,
    join_ranges,
    unpack,
)
from tests.unit.policy.configs import WIDTHS


@given(st.tuples(*2 * [st.integers(0, 300) | st.integers(0, (1 << 32) - 1)]).map(sorted))
def test_ipv4_ranges_are_split_as_ipaddress_does(ends: list[int]) -> None:
    first, last = ends
    expected = summarize_address_range(IPv4Address(first), IPv4Address(last))
    assert list(split_range(first, last, 32)) == [
        (int(network.network_address), network.prefixlen) for network in expected
    ]


@given(st.tuples(*2 * [st.integers(0, 300) | st.integers(0, (1 << 128) - 1)]).map(sorted))
def test_ipv6_ranges_are_split_as_ipaddress_does(ends: list[int]) -> None:
    first, last = ends
    expected = summarize_address_range(IPv6Address(first), IPv6Address(last))
    assert list(split_range(first, last, 128)) == [
        (int(network.network_address), network.prefixlen) for network in expected
    ]


@pytest.mark.parametrize("version", [4, 6])
def test_everything_is_one_prefix_and_a_host_is_another(version: int) -> None:
    width = WIDTHS[version]
    top = (1 << width) - 1
    assert list(split_range(0, top, width)) == [(0, 0)]
    assert list(split_range(0, 0, width)) == [(0, width)]
    assert list(split_range(top, top, width)) == [(top, width)]


def test_neighbours_are_joined_and_gaps_are_kept() -> None:
    assert list(join_ranges([(0, 1), (2, 5), (7, 7), (8, 9)])) == [(0, 5), (7, 9)]
    assert list(join_ranges([])) == []


@pytest.mark.parametrize(
    "text", ["0.0.0.0/0", "10.0.0.0/8", "192.0.2.1/32", "::/0", "2001:db8::/32", "::1/128"]
)
def test_text_is_that_of_ipaddress(text: str) -> None:
    network = ip_network(text)
    first, length = unpack(int(network.network_address) << 8 | network.prefixlen)
    assert format_prefix(network.version, first, length) == text
    last = first | HOST_MASKS[network.version][length]
    assert format_address(network.version, last) == str(network.broadcast_address)
