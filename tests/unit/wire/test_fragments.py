"""Fragments, put together by scapy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.wire import ip
from router.wire.fragments import split
from tests.unit.wire.packets import IP, IPv6, defragmented, echo_request


@pytest.mark.parametrize("version", [4, 6])
@given(size=st.integers(0, 9000), mtu=st.integers(100, 1600))
def test_fragments_are_the_packet(version: int, size: int, mtu: int) -> None:
    packet = echo_request(version, payload=bytes(i & 0xFF for i in range(size)))
    fragments = list(split(packet, mtu, 77))
    assert all(len(fragment) <= mtu for fragment in fragments)
    views = [ip.parse(fragment) for fragment in fragments]
    assert [view.more_fragments for view in views] == [True] * (len(views) - 1) + [False]
    assert b"".join(bytes(view.body) for view in views) == packet[20 if version == 4 else 40 :]


@pytest.mark.parametrize("version", [4, 6])
def test_scapy_puts_them_together(version: int) -> None:
    packet = echo_request(version, payload=bytes(i & 0xFF for i in range(5000)))
    whole = defragmented(list(split(packet, 1280, 77)))
    assert bytes(whole.payload) == packet[20 if version == 4 else 40 :]


def test_every_ipv4_fragment_has_a_right_header() -> None:
    packet = echo_request(4, payload=bytes(4000))
    for fragment in split(packet, 1420, 77):
        read = IP(fragment)
        checksum = read.chksum
        del read.chksum
        assert IP(bytes(read)).chksum == checksum
        assert (read.id, read.len, read.ttl) == (IP(packet).id, len(fragment), 64)


def test_an_identification_is_given_where_there_is_none() -> None:
    packet = bytearray(echo_request(4, payload=bytes(4000)))
    packet[4:6] = b"\0\0"
    assert {IP(fragment).id for fragment in split(packet, 1420, 77)} == {77}
    six = split(echo_request(6, payload=bytes(4000)), 1420, 77)
    assert {IPv6(fragment).payload.id for fragment in six} == {77}


def test_only_options_that_are_to_be_copied_are() -> None:
    router_alert, timestamp = b"\x94\x04\0\0", b"\x44\x08\x05\0\0\0\0\0"
    header = IP(src="10.0.0.1", dst="10.0.0.2", options=[router_alert + b"\x01" * 4 + timestamp])
    packet = bytes(header / bytes(3000))
    first, *later = (ip.parse(fragment) for fragment in split(packet, 1000, 77))
    assert first.payload == 36
    assert {view.payload for view in later} == {24}
    assert all(view.data[20:24] == router_alert for view in later)


def test_options_that_make_no_sense_end_the_copying() -> None:
    header = IP(src="10.0.0.1", dst="10.0.0.2", options=[b"\x94\x01\xff\xff"])
    assert len(list(split(bytes(header / bytes(3000)), 1000, 77))) == 4
