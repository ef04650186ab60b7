"""Frames with work left to be done, as scapy would have put the packets on a wire."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.wire import ip, offload
from router.wire.checksum import ones_complement_sum
from tests.unit.wire.packets import IP, TCP, UDP, IPv6, decoded


def headers(version: int) -> IP | IPv6:
    if version == 4:
        return IP(src="10.0.0.1", dst="10.0.0.2", id=0xFFFE, flags="DF")
    return IPv6(src="fd00::1", dst="fd00::2")


def frame(packet: bytes, start: int, field: int, kind: int = 0, size: int = 0) -> bytearray:
    header = offload.FIELDS.pack(offload.NEEDS_CHECKSUM, kind, start + 20, size, start, field)
    return bytearray(header + packet)


def without_sum(packet: bytes, start: int, field: int) -> bytes:
    """With the sum of the pseudo-header alone in the field, as the kernel leaves it."""
    view = ip.parse(packet)
    pseudo = ones_complement_sum(
        view.source + view.destination, len(packet) - start + view.protocol
    )
    at = start + field
    return packet[:at] + pseudo.to_bytes(2, "big") + packet[at + 2 :]


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("size", [0, 1, 64, 1400])
def test_udp_is_summed_up(version: int, size: int) -> None:
    whole = bytes(headers(version) / UDP(sport=1, dport=2) / (b"\x5a" * size))
    start = 20 if version == 4 else 40
    given_frame = frame(without_sum(whole, start, 6), start, 6)
    assert list(offload.packets(given_frame, len(given_frame))) == [whole]


@pytest.mark.parametrize("version", [4, 6])
def test_a_sum_of_zero_is_sent_as_the_other_zero(version: int) -> None:
    """A payload whose word makes the sum zero: UDP must send 0xFFFF."""
    start = 20 if version == 4 else 40
    base = bytes(headers(version) / UDP(sport=1, dport=2, chksum=0) / b"\0\0")
    view = ip.parse(base)
    rest = ones_complement_sum(
        base[start:], ones_complement_sum(view.source + view.destination, 10 + 17)
    )
    word = (0xFFFF - rest).to_bytes(2, "big")
    packet = base[:-2] + word
    given_frame = frame(without_sum(packet, start, 6), start, 6)
    (out,) = offload.packets(given_frame, len(given_frame))
    assert out[start + 6 : start + 8] == b"\xff\xff"


@given(st.sampled_from([4, 6]), st.integers(1, 9000), st.integers(500, 1448), st.booleans())
def test_a_long_segment_is_cut_as_a_card_would(
    version: int, length: int, size: int, fin: bool
) -> None:
    payload = random.Random(length).randbytes(length)
    start = 20 if version == 4 else 40
    options = [("Timestamp", (7, 8))]
    layer = TCP(
        sport=1, dport=2, seq=0xFFFFFF00, ack=9, flags="PAFC" if fin else "PA", options=options
    )
    whole = bytes(headers(version) / layer / payload)
    kind = offload.SEGMENT_TCP_V4 if version == 4 else offload.SEGMENT_TCP_V6
    given_frame = frame(without_sum(whole, start, 16), start, 16, kind, size)
    cut = [decoded(packet) for packet in offload.packets(given_frame, len(given_frame))]
    assert b"".join(bytes(packet[TCP].payload) for packet in cut) == payload
    assert all(len(packet[TCP].payload) <= size for packet in cut)
    at = 0
    for number, packet in enumerate(cut):
        last = number == len(cut) - 1
        assert packet[TCP].seq == (0xFFFFFF00 + at) & 0xFFFFFFFF
        at += len(packet[TCP].payload)
        flags = {"A"} | ({"P"} if last else set())
        flags |= ({"F"} if last else set()) | ({"C"} if number == 0 else set()) if fin else set()
        assert set(str(packet[TCP].flags)) == flags
        if version == 4:
            assert packet[IP].id == (0xFFFE + number) & 0xFFFF


@given(
    st.sampled_from([0, 1, 4, 5, 0x81, 0xFF]),
    st.sampled_from([0, 1, 1400, 0xFFFF]),
    st.sampled_from([0, 19, 20, 39, 40, 60, 0xFFFF]),
    st.sampled_from([0, 6, 16, 0xFFFF]),
    st.sampled_from([0x45, 0x4F, 0x60, 0]),
    st.binary(max_size=80),
)
def test_impossible_headers_never_raise(
    kind: int, size: int, start: int, field: int, first: int, rest: bytes
) -> None:
    """Offsets that point nowhere, headers that overlap, segments of nothing."""
    header = offload.FIELDS.pack(offload.NEEDS_CHECKSUM, kind, start, size, start, field)
    given_frame = bytearray(header + bytes([first]) + rest)
    list(offload.packets(given_frame, len(given_frame)))
    offload.complete(given_frame, len(given_frame))


@pytest.mark.parametrize(("first", "least"), [(0x45, 20), (0x60, 40)])
def test_a_segment_within_the_ip_header_comes_out_as_it_is(first: int, least: int) -> None:
    """All other fields are possible ones: for such a header of TCP there is a whole one."""
    packet = bytes([first]) + bytes([0x55]) * 79
    kind = offload.SEGMENT_TCP_V4 if least == 20 else offload.SEGMENT_TCP_V6
    for start in range(least):
        given_frame = frame(packet, start, 16, kind, 1)
        assert list(offload.packets(given_frame, len(given_frame))) == [packet]
    given_frame = frame(packet, least, 16, kind, 1)
    assert len(list(offload.packets(given_frame, len(given_frame)))) == 80 - least - 20


@pytest.mark.parametrize(("first", "least"), [(0x45, 20), (0x60, 40)])
@pytest.mark.parametrize("words", [0, 1, 4, 15])
def test_a_segment_whose_header_ends_nowhere_comes_out_as_it_is(
    first: int, least: int, words: int
) -> None:
    packet = bytearray([first, *bytes(least + 20 + 8 - 1)])
    packet[least + 12] = words << 4
    kind = offload.SEGMENT_TCP_V4 if least == 20 else offload.SEGMENT_TCP_V6
    given_frame = frame(bytes(packet), least, 16, kind, 1)
    assert list(offload.packets(given_frame, len(given_frame))) == [bytes(packet)]


@given(st.binary(min_size=offload.HEADER, max_size=120))
def test_damaged_frames_never_raise(data: bytes) -> None:
    list(offload.packets(bytearray(data), len(data)))
