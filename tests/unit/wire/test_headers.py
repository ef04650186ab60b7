"""The offsets of the fields, compared with packets of scapy, and the IPv4 header checksum."""

from __future__ import annotations

from ipaddress import ip_address
from struct import unpack_from

from hypothesis import given
from hypothesis import strategies as st

from router.wire import headers
from router.wire.checksum import checksum
from tests.unit.wire.packets import ICMP, IP, TCP, UDP, IPv6

SOURCE = {4: "192.0.2.1", 6: "2001:db8::1"}
DESTINATION = {4: "198.51.100.2", 6: "2001:db8:1::2"}


def word(data: bytes, at: int) -> int:
    value: int = unpack_from("!H", data, at)[0]
    return value


def test_the_fields_of_an_ipv4_header() -> None:
    header = IP(src=SOURCE[4], dst=DESTINATION[4], id=0x1234, flags="MF", frag=5, ttl=61, proto=99)
    data = bytes(header / bytes(40))
    assert word(data, headers.V4_TOTAL_LENGTH) == len(data)
    assert word(data, headers.V4_IDENTIFICATION) == 0x1234
    assert word(data, headers.V4_FRAGMENT) == 0x2005
    assert (data[headers.V4_TTL], data[headers.V4_PROTOCOL]) == (61, 99)
    assert data[headers.V4_SOURCE] == ip_address(SOURCE[4]).packed
    assert data[headers.V4_DESTINATION] == ip_address(DESTINATION[4]).packed
    assert data[headers.V4_ADDRESSES] == data[headers.V4_SOURCE] + data[headers.V4_DESTINATION]
    assert headers.V4_FIELDS.unpack_from(data) == (
        *(0x45, len(data), 0x2005, 61, 99),
        *(data[headers.V4_SOURCE], data[headers.V4_DESTINATION]),
    )


def test_the_fields_of_an_ipv6_header() -> None:
    data = bytes(IPv6(src=SOURCE[6], dst=DESTINATION[6], hlim=61, nh=99) / bytes(30))
    assert word(data, headers.V6_PAYLOAD_LENGTH) == 30
    assert (data[headers.V6_HOP_LIMIT], data[headers.V6_NEXT_HEADER]) == (61, 99)
    assert data[headers.V6_SOURCE] == ip_address(SOURCE[6]).packed
    assert data[headers.V6_DESTINATION] == ip_address(DESTINATION[6]).packed
    assert data[headers.V6_ADDRESSES] == data[headers.V6_SOURCE] + data[headers.V6_DESTINATION]


def test_the_fields_of_upper_headers() -> None:
    tcp = bytes(TCP(sport=1, dport=2, seq=0x01020304, flags="SA", dataofs=7, chksum=0x5678))
    assert tcp[: headers.PORTS] == b"\0\1\0\2"
    assert word(tcp, headers.DESTINATION_PORT) == 2
    assert unpack_from("!I", tcp, headers.TCP_SEQUENCE) == (0x01020304,)
    assert (tcp[headers.TCP_DATA_OFFSET] >> 4, tcp[headers.TCP_FLAGS]) == (7, 0x12)
    assert word(tcp, headers.TCP_CHECKSUM) == 0x5678
    udp = bytes(UDP(sport=1, dport=2, len=99, chksum=0x5678))
    assert (word(udp, headers.UDP_LENGTH), word(udp, headers.UDP_CHECKSUM)) == (99, 0x5678)
    icmp = bytes(ICMP(type=8, id=0x1234, chksum=0x5678))
    assert len(icmp) == headers.ICMP_HEADER
    assert word(icmp, headers.ICMP_IDENTIFIER) == 0x1234
    assert word(icmp, headers.ICMP_CHECKSUM) == 0x5678


@given(st.binary(min_size=20, max_size=60), st.binary(max_size=30), st.binary(max_size=30))
def test_the_checksum_covers_the_header_and_nothing_else(
    header: bytes, before: bytes, behind: bytes
) -> None:
    header = b"\x45" + header[1 : len(header) & ~3]
    packet = bytearray(before + header + behind)
    headers.fill_in_v4_checksum(packet, len(before), len(before) + len(header))
    zeroed = header[:10] + b"\0\0" + header[12:]
    expected = header[:10] + checksum(zeroed).to_bytes(2, "big") + header[12:]
    assert bytes(packet) == before + expected + behind
