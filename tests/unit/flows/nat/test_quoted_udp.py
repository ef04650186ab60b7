"""Errors from inside about datagrams: translated exactly, or dropped.

The oracle: what the server would receive if the datagram that it sent, one hop later, had been
quoted. scapy makes that and the one that was delivered, each from its own addresses and ports.
"""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.flows.drops import Drop
from router.flows.nat import quoted
from router.wire import icmp, ip
from router.wire.icmp import Error
from tests.unit.flows.nat.damaged import damaged
from tests.unit.wire.packets import FAR, INSIDE, IP, UDP, IPv6, IPv6ExtHdrFragment, Packet, Raw

BOTH = pytest.mark.parametrize("version", [4, 6])
OURS = {4: "192.0.2.2", 6: "2001:db8:2::2"}
HEADERS = {4: 28, 6: 48}
SERVER, INSIDE_PORT = 53, 4000


def datagram(version: int, destination: str, port: int, payload: bytes) -> bytes:
    """From the server."""
    body = UDP(sport=SERVER, dport=port) / Raw(payload)
    if version == 4:
        return bytes(IP(src=FAR[4], dst=destination, ttl=9, id=77) / body)
    return bytes(IPv6(src=FAR[6], dst=destination, hlim=9) / body)


def delivered(version: int, payload: bytes) -> bytes:
    return datagram(version, INSIDE[version], INSIDE_PORT, payload)


def error(version: int, source: str, what: Error, quote: bytes, hop_limit: int = 64) -> bytes:
    """To the server."""
    sender, far = ip_address(source).packed, ip_address(FAR[version]).packed
    body = bytes((*what.type_and_code(version), 0, 0)) + bytes(4) + quote
    message = icmp.message(version, sender, far, body)
    return ip.build(sender, far, icmp.protocol_of(version), message, hop_limit=hop_limit)


def outward(version: int, data: bytes, port: int) -> bytes:
    packet = ip.parse(data)
    quote = quoted.read(packet)
    assert isinstance(quote, quoted.Quote)
    return quoted.outward(packet, quote, ip_address(OURS[version]).packed, port)


@BOTH
@given(
    port=st.integers(1, 0xFFFF),
    payload=st.binary(max_size=64),
    cut=st.integers(0, 150),
    what=st.sampled_from(list(Error)),
)
def test_an_error_is_translated_exactly_or_dropped(
    version: int, port: int, payload: bytes, cut: int, what: Error
) -> None:
    about = error(version, INSIDE[version], what, delivered(version, payload)[:cut])
    quote = quoted.read(ip.parse(about))
    if cut < HEADERS[version]:
        assert quote is Drop.MALFORMED
        return
    assert isinstance(quote, quoted.Quote)
    assert (quote.source_port, quote.destination_port) == (SERVER, INSIDE_PORT)
    sent = datagram(version, OURS[version], port, payload)
    wanted = error(version, OURS[version], what, sent[:cut], hop_limit=63)
    assert outward(version, about, port) == wanted


def test_no_checksum_stays_none() -> None:
    """RFC 768: zero stands for it in IPv4."""
    bare = UDP(sport=SERVER, dport=INSIDE_PORT, chksum=0) / Raw(b"abc")
    about = bytes(IP(src=FAR[4], dst=INSIDE[4]) / bare)
    seen = outward(4, error(4, INSIDE[4], Error.PORT_UNREACHABLE, about), 5000)
    assert seen[20 + 8 + 20 + 6 :][:2] == b"\0\0"


@BOTH
def test_a_wrong_checksum_stays_wrong(version: int) -> None:
    """RFC 5508 REQ-3: it is not checked; nor is it corrected."""
    about = bytearray(delivered(version, b"abc"))
    about[-1] ^= 1
    seen = outward(version, error(version, INSIDE[version], Error.NO_ROUTE, bytes(about)), 5000)
    sent = bytearray(datagram(version, OURS[version], 5000, b"abc"))
    sent[-1] ^= 1
    assert seen == error(version, OURS[version], Error.NO_ROUTE, bytes(sent), hop_limit=63)


def test_a_quoted_header_with_a_wrong_checksum_is_dropped() -> None:
    about = bytearray(delivered(4, b"abc"))
    about[10] ^= 1
    data = error(4, INSIDE[4], Error.PORT_UNREACHABLE, bytes(about))
    assert quoted.read(ip.parse(data)) is Drop.BAD_CHECKSUM


@BOTH
def test_only_the_first_fragment_is_read(version: int) -> None:
    known: list[object] = []
    for first in (True, False):
        offset = 0 if first else 100
        header: Packet = (
            IP(src=FAR[4], dst=INSIDE[4], flags="MF", frag=offset, proto=17)
            if version == 4
            else IPv6(src=FAR[6], dst=INSIDE[6]) / IPv6ExtHdrFragment(m=1, offset=offset, nh=17)
        )
        about = bytes(header / UDP(sport=SERVER, dport=INSIDE_PORT, len=3000) / Raw(bytes(32)))
        quote = quoted.read(ip.parse(error(version, INSIDE[version], Error.NO_ROUTE, about)))
        known.append(quote.source_port if isinstance(quote, quoted.Quote) else quote)
    assert known == [SERVER, Drop.NO_BINDING]


@BOTH
def test_data_behind_the_quote_is_kept(version: int) -> None:
    """RFC 4884."""
    extension = b"\x20\x00\xaa\xbb\x00\x08\x01\x01\x00\x01\x01\x01"
    about = delivered(version, bytes(200))[:128] + extension
    seen = outward(version, error(version, INSIDE[version], Error.NO_ROUTE, about), 5000)
    assert seen.endswith(extension)


@BOTH
@pytest.mark.parametrize("seed", range(10))
def test_damaged_errors_never_raise(version: int, seed: int) -> None:
    whole = error(version, INSIDE[version], Error.NO_ROUTE, delivered(version, b"abc"))
    ours = ip_address(OURS[version]).packed
    for packet in damaged(whole, seed):
        quote = quoted.read(packet)
        if isinstance(quote, quoted.Quote) and packet.hop_limit > 1:
            assert len(quoted.outward(packet, quote, ours, 5000)) == len(packet.data)
