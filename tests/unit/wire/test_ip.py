"""IP headers: headers built by scapy are parsed to its fields, and damaged ones are refused."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.wire import ip
from tests.unit.wire.packets import (
    ICMP,
    IP,
    UDP,
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    decoded,
    echo_request,
)


def packed(text: str) -> bytes:
    return ip_address(text).packed


def test_ipv4_header() -> None:
    data = bytes(IP(src="10.0.0.1", dst="10.0.0.2", ttl=9, tos=0x28, flags="DF") / ICMP() / b"abc")
    packet = ip.parse(data)
    assert (packet.version, packet.protocol, packet.protocol_field) == (4, ip.ICMP, 9)
    assert (packet.source, packet.destination) == (packed("10.0.0.1"), packed("10.0.0.2"))
    assert (packet.hop_limit, packet.traffic_class, packet.dont_fragment) == (9, 0x28, True)
    assert not packet.is_fragment
    assert bytes(packet.body) == data[20:]


def test_ipv4_options_are_passed_over() -> None:
    data = bytes(IP(src="10.0.0.1", dst="10.0.0.2", options=[b"\x01" * 8]) / ICMP())
    assert ip.parse(data).payload == 28


@pytest.mark.parametrize(("offset", "more"), [(0, True), (185, True), (185, False)])
def test_ipv4_fragments(offset: int, more: bool) -> None:
    data = bytes(IP(src="10.0.0.1", dst="10.0.0.2", frag=offset, flags="MF" * more, proto=17))
    packet = ip.parse(data)
    assert (packet.fragment_offset, packet.more_fragments) == (offset * 8, more)
    assert packet.is_fragment
    assert not packet.dont_fragment


def test_ipv6_header() -> None:
    data = bytes(IPv6(src="fd00::1", dst="fd00::2", hlim=3, tc=0xAB, fl=0x12345) / UDP() / b"x")
    packet = ip.parse(data)
    assert (packet.version, packet.protocol, packet.protocol_field) == (6, ip.UDP, 6)
    assert (packet.source, packet.destination) == (packed("fd00::1"), packed("fd00::2"))
    assert (packet.hop_limit, packet.traffic_class, packet.dont_fragment) == (3, 0xAB, True)


def test_ipv6_extension_headers_are_passed_over() -> None:
    headers = IPv6(src="fd00::1", dst="fd00::2") / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt()
    data = bytes(headers / ICMPv6EchoRequest(id=5))
    packet = ip.parse(data)
    assert (packet.protocol, packet.payload, packet.protocol_field) == (ip.ICMPV6, 56, 48)


@pytest.mark.parametrize(("offset", "more"), [(0, True), (181, True), (181, False)])
def test_ipv6_fragments(offset: int, more: bool) -> None:
    header = IPv6ExtHdrFragment(offset=offset, m=int(more), nh=ip.ICMPV6)
    data = bytes(IPv6(src="fd00::1", dst="fd00::2") / header / b"12345678")
    packet = ip.parse(data)
    assert (packet.fragment_offset, packet.more_fragments) == (offset * 8, more)
    assert (packet.protocol, packet.payload) == (ip.ICMPV6, 48)


def test_bytes_behind_the_packet_are_cut_off() -> None:
    for version in (4, 6):
        data = echo_request(version)
        assert ip.parse(data + b"padding").data == data


@pytest.mark.parametrize("version", [4, 6])
def test_every_length_that_is_too_short_is_refused(version: int) -> None:
    data = echo_request(version)
    for length in range(len(data)):
        with pytest.raises(ip.Malformed):
            ip.parse(data[:length])


def test_a_chain_of_extension_headers_that_does_not_end_is_refused() -> None:
    packet = IPv6(src="fd00::1", dst="fd00::2")
    for _ in range(20):
        packet = packet / IPv6ExtHdrDestOpt()
    with pytest.raises(ip.Malformed):
        ip.parse(bytes(packet / UDP()))


@given(st.binary(max_size=120))
def test_arbitrary_bytes_are_a_packet_or_malformed(data: bytes) -> None:
    check_view(data)


@given(st.sampled_from([4, 6]), st.data())
def test_damaged_packets_are_a_packet_or_malformed(version: int, draw: st.DataObject) -> None:
    data = bytearray(echo_request(version))
    for at in draw.draw(st.lists(st.integers(0, len(data) - 1), min_size=1, max_size=4)):
        data[at] ^= draw.draw(st.integers(1, 255))
    check_view(bytes(data))


def check_view(data: bytes) -> None:
    """What a Packet promises holds."""
    try:
        packet = ip.parse(data)
    except ip.Malformed:
        return
    assert data.startswith(packet.data)
    assert (20 if packet.version == 4 else 40) <= packet.payload <= len(packet.data)
    assert len(packet.source) == len(packet.destination) == (4 if packet.version == 4 else 16)
    assert 0 <= packet.hop_limit <= 255
    assert packet.data[packet.protocol_field] == packet.protocol


def test_build_makes_what_scapy_reads() -> None:
    data = ip.build(
        packed("10.0.0.1"),
        packed("10.0.0.2"),
        253,
        b"abc",
        hop_limit=3,
        traffic_class=8,
        flags=0x4000,
    )
    read = decoded(data)
    assert (read.src, read.dst, read.ttl, read.tos, read.flags) == (
        "10.0.0.1",
        "10.0.0.2",
        3,
        8,
        "DF",
    )
    data = ip.build(packed("fd00::1"), packed("fd00::2"), 253, b"abc", hop_limit=3, traffic_class=8)
    read = decoded(data)
    assert (read.src, read.dst, read.hlim, read.tc, read.plen) == ("fd00::1", "fd00::2", 3, 8, 3)
