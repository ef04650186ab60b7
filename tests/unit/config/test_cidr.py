"""Networks from text: exactly what Python's ipaddress takes, less what is ambiguous."""

from __future__ import annotations

import string
from ipaddress import ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from router.config.cidr import BadCidrError, parse_cidr


def obviously(text: str) -> tuple[int, int, int] | None:
    """What a text means according to the standard library, less the forms that we refuse."""
    host, slash, tail = text.partition("/")
    if slash and (not tail.isascii() or not tail.isdecimal() or str(int(tail)) != tail):
        return None
    if "%" in host:
        return None
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        return None
    return network.version, int(network.network_address), network.prefixlen


near_cidrs = st.one_of(
    st.text(string.hexdigits + ".:/", max_size=24),
    st.text("0129./", max_size=20),
    st.builds("{}/{}".format, st.ip_addresses(), st.integers(0, 140)),
    st.ip_addresses().map(str),
    st.text(max_size=20),
)


@given(near_cidrs)
@example("1.2")
@example("0x7f.1")
@example("010.1.1.1")
@example("::ffff:1.2.3.4/120")
@example("1:2:3:4:5:6:7:8")
@example("1.2.3.4/٣")
@example("1.2.3.4\0")
@example("")
def test_takes_and_refuses_as_the_standard_library_does(text: str) -> None:
    expected = obviously(text)
    if expected is None:
        with pytest.raises(BadCidrError) as caught:
            parse_cidr(text)
        assert caught.value.message
        assert caught.value.remedy
    else:
        cidr = parse_cidr(text)
        assert (cidr.version, cidr.first, cidr.length) == expected


@given(st.builds("{}/{}".format, st.ip_addresses(v=4), st.integers(0, 32)))
def test_host_bits_are_noticed(text: str) -> None:
    cidr = parse_cidr(text)
    assert cidr.host_bits == (text != str(cidr))
    assert str(ip_network(str(cidr))) == str(cidr)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("10.0.0.0/255.0.0.0", "write 10.0.0.0/8"),
        ("10.0.0.0/0.255.255.255", "write 10.0.0.0/8"),
        ("0.0.0.0/0.0.0.0", "write 0.0.0.0/0"),
        ("10.0.0.0 255.0.0.0", "write 10.0.0.0/8"),
        ("10.1.2.3 0.0.0.255", "write 10.1.2.0/24"),
        ("10.0.0.1 192.0.0.1", "write a list: [10.0.0.1, 192.0.0.1]"),
        ("10.0.0.1 192.0.0.0", "write a list: [10.0.0.1, 192.0.0.0]"),
        ("fd00::/ffff::", "write fd00::/16"),
        ("fd00::/::ffff", "write fd00::/112"),
        ("fd00::/255.0.0.0", "write it as 10.0.0.0/8"),
        ("10.0.0.0/255.0.255.0", "write it as 10.0.0.0/8"),
        ("10.1.*.*", "write 10.1.0.0/16"),
        ("10.*", "write 10.0.0.0/8"),
        ("010.0.0.*", "write a network with its prefix length, as 10.0.0.0/8"),
        ("10.*.0.1", "write a network with its prefix length, as 10.0.0.0/8"),
        ("*", "write a network with its prefix length, as 10.0.0.0/8"),
        ("10.0.0.0-10.0.0.255", "write one of them"),
        ("192.168/16", "did you mean 192.168.0.0/16?"),
        ("[fd00::]:443", "write fd00::; ports go to 'port'"),
    ],
)
def test_remedies_are_what_was_meant(text: str, remedy: str) -> None:
    with pytest.raises(BadCidrError) as caught:
        parse_cidr(text)
    assert caught.value.remedy == remedy
