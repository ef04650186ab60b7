"""Errors about segments to an application, read by scapy after translation."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.flows.nat.quoted_tcp import quoted_key, translated
from router.flows.tcp.flow import mirrored
from router.wire import icmp, ip
from router.wire.icmp import Error
from tests.unit.wire.packets import IP, TCP, IPv6, decoded

FAR = {4: "198.51.100.7", 6: "2001:db8:100::7"}
CLIENT = {4: "10.1.0.2", 6: "fd01::2"}
HOP = {4: "10.1.0.9", 6: "fd01::9"}
OURS = {4: ("192.168.7.1", "192.168.7.2"), 6: ("fd77::1", "fd77::2")}


def key(source: str, destination: str, sport: int, dport: int) -> bytes:
    packed = ip_address(source).packed + ip_address(destination).packed
    return packed + sport.to_bytes(2, "big") + dport.to_bytes(2, "big")


def error(version: int) -> ip.Packet:
    """The error of a hop: a segment of the far host was too big."""
    header = IP if version == 4 else IPv6
    segment = bytes(
        header(src=FAR[version], dst=CLIENT[version]) / TCP(sport=80, dport=5000, seq=7) / bytes(99)
    )
    hop = ip_address(HOP[version]).packed
    made = icmp.error(hop, ip.parse(segment), Error.TOO_BIG, 1300)
    data = bytearray(made)
    at, far = (16, ip_address(FAR[version]).packed) if version == 4 else (24, b"")
    data[at : at + len(far)] = far
    return ip.parse(bytes(data))


@pytest.mark.parametrize("version", [4, 6])
def test_the_kernel_receives_a_quote_of_its_own_segment(version: int) -> None:
    listener, peer = OURS[version]
    given_error = error(version)
    found = quoted_key(given_error)
    assert found == key(FAR[version], CLIENT[version], 80, 5000)
    assert found is not None
    assert mirrored(found) == key(CLIENT[version], FAR[version], 5000, 80)
    source = ip_address(HOP[version]).packed
    read = decoded(translated(given_error, source, key(listener, peer, 4000, 1024)))
    assert (read.src, read.dst) == (HOP[version], listener)
    quote = read.payload.payload
    assert (quote.src, quote.dst) == (listener, peer)
    assert (quote.payload.sport, quote.payload.dport, quote.payload.seq) == (4000, 1024, 7)
    if version == 4:
        assert read.payload.nexthopmtu == 1300
        assert icmp.has_valid_checksum(ip.parse(bytes(read)))


@given(st.sampled_from([4, 6]), st.integers(0, 200), st.integers(0, 255))
def test_damaged_quotes_are_malformed(version: int, length: int, flip: int) -> None:
    whole = error(version)
    data = bytearray(whole.data[: max(length, whole.payload + 8)])
    at = whole.payload + 8 + flip % 60
    if at < len(data):
        data[at] ^= 0xFF
    if version == 4:
        data[2:4] = len(data).to_bytes(2, "big")
    else:
        data[4:6] = (len(data) - 40).to_bytes(2, "big")
    damaged = ip.parse(bytes(data))
    found = quoted_key(damaged)
    assert found is None or len(found) == (12 if version == 4 else 36)
