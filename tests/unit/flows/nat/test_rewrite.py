"""Rewritten segments, as scapy would write them: with whole checksums, partial ones, wrong ones."""

from __future__ import annotations

from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from router.flows.nat.rewrite import Rewrite
from router.wire import ip, offload, tcp
from router.wire.checksum import checksum, ones_complement_sum
from tests.unit.wire.packets import IP, TCP, IPv6

ports = st.integers(0, 0xFFFF)
versions = st.sampled_from([4, 6])


ADDRESSES = {4: st.ip_addresses(v=4).map(str), 6: st.ip_addresses(v=6).map(str)}


@st.composite
def pairs(draw: st.DrawFn) -> tuple[int, list[tuple[str, str, int, int]]]:
    """A version, and source, destination and both ports before and after."""
    version = draw(versions)
    one = st.tuples(ADDRESSES[version], ADDRESSES[version], ports, ports)
    return version, [draw(one), draw(one)]


def key(source: str, destination: str, sport: int, dport: int) -> bytes:
    packed = ip_address(source).packed + ip_address(destination).packed
    return packed + sport.to_bytes(2, "big") + dport.to_bytes(2, "big")


def segment(version: int, names: tuple[str, str, int, int], payload: bytes) -> bytes:
    source, destination, sport, dport = names
    header = (
        IP(src=source, dst=destination, ttl=9, id=77)
        if version == 4
        else IPv6(src=source, dst=destination, hlim=9)
    )
    options = [("MSS", 1460), ("Timestamp", (1, 2))]
    return bytes(header / TCP(sport=sport, dport=dport, seq=5, options=options) / payload)


def framed(packet: bytes, flags: int = 0) -> bytearray:
    return bytearray(bytes([flags]) + bytes(offload.HEADER - 1) + packet)


@given(pairs(), st.binary(max_size=100))
def test_a_whole_checksum(
    pair: tuple[int, list[tuple[str, str, int, int]]], payload: bytes
) -> None:
    version, (old, new) = pair
    frame = framed(segment(version, old, payload))
    start = offload.HEADER + (20 if version == 4 else 40)
    Rewrite(None, False, key(*old), key(*new)).apply(frame, start)
    packet = bytes(frame[offload.HEADER :])
    assert tcp.has_valid_checksum(ip.parse(packet))
    assert version == 6 or checksum(packet[:20]) == 0
    assert without_checksums(packet) == without_checksums(segment(version, new, payload))


def without_checksums(packet: bytes) -> bytes:
    """Ones' complement has two zeros, of which scapy may have written the other."""
    if packet[0] >> 4 == 4:
        return packet[:10] + packet[12:36] + packet[38:]
    return packet[:56] + packet[58:]


@given(pairs(), st.binary(min_size=1, max_size=100))
def test_a_partial_checksum_completes_to_the_right_one(
    pair: tuple[int, list[tuple[str, str, int, int]]], payload: bytes
) -> None:
    version, (old, new) = pair
    packet = bytearray(segment(version, old, payload))
    start = 20 if version == 4 else 40
    length = len(packet) - start
    pseudo = ones_complement_sum(key(*old)[:-4], length + ip.TCP)
    packet[start + 16 : start + 18] = pseudo.to_bytes(2, "big")
    frame = framed(bytes(packet), offload.NEEDS_CHECKSUM)
    frame[6:8] = start.to_bytes(2, "little")
    frame[8:10] = (16).to_bytes(2, "little")
    Rewrite(None, True, key(*old), key(*new)).apply(frame, offload.HEADER + start)
    (whole,) = offload.packets(frame, len(frame))
    assert tcp.has_valid_checksum(ip.parse(whole))


@given(pairs(), st.integers(1, 0xFFFE))
def test_a_wrong_checksum_stays_as_wrong(
    pair: tuple[int, list[tuple[str, str, int, int]]], error: int
) -> None:
    version, (old, new) = pair
    start = 20 if version == 4 else 40
    packet = bytearray(segment(version, old, b"payload"))
    field = int.from_bytes(packet[start + 16 : start + 18], "big")
    packet[start + 16 : start + 18] = ((field + error) % 0xFFFF).to_bytes(2, "big")
    if tcp.has_valid_checksum(ip.parse(bytes(packet))):
        return
    frame = framed(bytes(packet))
    Rewrite(None, False, key(*old), key(*new)).apply(frame, offload.HEADER + start)
    assert not tcp.has_valid_checksum(ip.parse(bytes(frame[offload.HEADER :])))


@given(pairs())
def test_there_and_back_is_the_same(
    pair: tuple[int, list[tuple[str, str, int, int]]],
) -> None:
    version, (old, new) = pair
    packet = segment(version, old, b"x")
    start = offload.HEADER + (20 if version == 4 else 40)
    frame = framed(packet)
    Rewrite(None, False, key(*old), key(*new)).apply(frame, start)
    if version == 4:
        assert checksum(frame[offload.HEADER : start]) == 0
    Rewrite(None, True, key(*new), key(*old)).apply(frame, start)
    assert bytes(frame[offload.HEADER : start + 16]) == packet[: start - offload.HEADER + 16]
    assert tcp.has_valid_checksum(ip.parse(bytes(frame[offload.HEADER :])))
