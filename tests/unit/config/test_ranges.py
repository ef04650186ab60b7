"""Ranges of addresses from text, against the standard library and netaddr."""

from __future__ import annotations

from ipaddress import ip_address, summarize_address_range

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from netaddr import IPRange

from router.config.cidr import BadCidrError
from router.config.ranges import BadRangeError, parse_networks
from tests.unit.examples import examples

blanks = st.sampled_from(["", " ", "  ", "\t"])


def two_of(version: int) -> st.SearchStrategy[list[str]]:
    """Two addresses of a family, in their order, often near each other."""
    top = (1 << (32 if version == 4 else 128)) - 1
    first = st.integers(0, top) | st.integers(0, 300) | st.integers(top - 300, top)
    distance = st.integers(0, 3000) | st.integers(0, top)
    ends = st.tuples(first, distance).map(lambda both: [both[0], min(top, both[0] + both[1])])
    kind = type(ip_address("0.0.0.0" if version == 4 else "::"))
    return ends.map(lambda both: [str(kind(end)) for end in both])


@given(two_of(4) | two_of(6), blanks, blanks)
def test_a_range_is_its_fewest_networks(ends: list[str], before: str, behind: str) -> None:
    networks = parse_networks(f"{ends[0]}{before}-{behind}{ends[1]}")
    first, last = map(ip_address, ends)
    by_ipaddress = summarize_address_range(first, last)
    assert [str(each) for each in networks] == [str(each) for each in by_ipaddress]
    assert [each[:3] for each in networks] == [
        (each.version, each.first, each.prefixlen) for each in IPRange(*ends).cidrs()
    ]


@given(two_of(4) | two_of(6))
def test_the_wrong_way_round_the_remedy_is_the_range(ends: list[str]) -> None:
    if ends[0] == ends[1]:
        return
    with pytest.raises(BadRangeError) as caught:
        parse_networks(f"{ends[1]} - {ends[0]}")
    assert caught.value.remedy == f"swap its ends: {ends[0]}-{ends[1]}"


near_ranges = st.text("0129af.:/-* ", max_size=24) | st.builds(
    "{}{}{}".format,
    st.ip_addresses().map(str) | st.text("019f.:*/", max_size=6),
    st.sampled_from(["-", " - ", "--", "/8-", "-/"]),
    st.ip_addresses().map(str) | st.text("019f.:*/", max_size=6),
)


@settings(max_examples=examples(500))
@given(near_ranges)
@example("fd00::5-" + "f" * 60_000)
@example("-" * 60_000 + "x")
@example("1.1" + "-" * 60_000 + "x")
@example("1.1" + " " * 60_000 + "to" + " " * 60_000 + "x")
@example("1.1.1.1" + "." * 60_000 + "x")
@example("[f" * 30_000 + "]-")
@example("\N{EN DASH}" + " " * 60_000 + "x")
@example("[f]" + " " * 60_000 + "x")
def test_everything_is_read_or_explained(text: str) -> None:
    try:
        networks = parse_networks(text)
    except BadCidrError as error:
        assert error.message
        assert error.remedy
        assert len(error.message) + len(error.remedy) < 400
    else:
        assert networks
        assert len(networks) == 1 or "-" in text


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("192.0.2.10-99", "write 192.0.2.10-192.0.2.99"),
        ("10.0.1-2.*", "write 10.0.1.0-10.0.2.255"),
        ("10.0.2-3.*", "write 10.0.2.0/23"),
        ("2001:db8::1-ff", "write 2001:db8::1-2001:db8::ff"),
        ("2001:db8::ff-1", "write both ends in full, as 192.0.2.10-192.0.2.99"),
        ("192.0.2.99-10", "write both ends in full, as 192.0.2.10-192.0.2.99"),
        ("10.0.0.0/24-10.0.5.0/24", "write addresses alone, as 10.0.0.0-10.0.5.255"),
        (
            "fd00::/64 - fd00:0:0:5::/64",
            "write addresses alone, as fd00::-fd00::5:ffff:ffff:ffff:ffff",
        ),
        ("192.0.2.10/24-192.0.2.99/24", "write addresses alone, as 192.0.2.10-192.0.2.99"),
        ("10.0.5.0/24-10.0.0.0/24", "write addresses alone, as 192.0.2.10-192.0.2.99"),
        ("10.0.0.1-fd00::1", "write one range for each family"),
        ("192.0.2.10\N{EN DASH}192.0.2.99", "write 192.0.2.10-192.0.2.99"),
        ("192.0.2.10 \N{EM DASH} 192.0.2.99", "write 192.0.2.10-192.0.2.99"),
        ("::1\N{MINUS SIGN}::2", "write ::1-::2"),
        ("192.0.2.10\N{EN DASH}99", "write 192.0.2.10-192.0.2.99"),
        ("192.0.2.10 to 192.0.2.99", "write 192.0.2.10-192.0.2.99"),
        ("192.0.2.10\tto\t192.0.2.99", "write 192.0.2.10-192.0.2.99"),
        ("192.0.2.10..192.0.2.99", "write 192.0.2.10-192.0.2.99"),
        ("192.0.2.10 ... 192.0.2.99", "write 192.0.2.10-192.0.2.99"),
        ("fd00::1..fd00::2", "write fd00::1-fd00::2"),
        ("[::1]-[::2]", "write ::1-::2"),
        ("[::1] - ::2", "write ::1-::2"),
        ("[::1]\N{EN DASH}[::2]", "write ::1-::2"),
        ("[::2] to [::1]", "swap its ends: ::1-::2"),
        ("192.0.2.10\N{EN DASH}", "write both ends, as 192.0.2.10-192.0.2.99, or 192.0.2.10 alone"),
    ],
)
def test_remedies_are_what_was_meant(text: str, remedy: str) -> None:
    with pytest.raises(BadRangeError) as caught:
        parse_networks(text)
    assert caught.value.remedy == remedy
    if remedy.startswith("write ") and "as" not in remedy and "one" not in remedy:
        assert parse_networks(remedy.removeprefix("write "))


@pytest.mark.parametrize(
    "text",
    [
        "my-host.example",
        "cafe-1.de",
        "10.0.0.0/-8",
        "10.0.0.0/\N{MINUS SIGN}8",
        "dead-beef",
        "10..0.0.1",
        "10.0..0.1",
        "10.0.0.1..",
        "to",
        "caf\N{EN DASH}e",
        "[::1]:443",
    ],
)
def test_not_everything_with_a_dash_is_meant_as_a_range(text: str) -> None:
    with pytest.raises(BadCidrError) as caught:
        parse_networks(text)
    assert not isinstance(caught.value, BadRangeError)
