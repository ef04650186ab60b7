"""Echo messages between their inside and outside form, read by scapy."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.flows.nat import translate
from router.wire import icmp, ip
from tests.unit.wire.packets import FAR, ICMP, INSIDE, IP, decoded, echo_request

OWN = b"\xc0\0\2\2"
identifiers = st.integers(0, 0xFFFF)


@given(identifiers, identifiers, st.binary(max_size=100))
def test_an_ipv4_request_changes_only_what_it_must(inside: int, outside: int, data: bytes) -> None:
    request = ip.parse(echo_request(4, identifier=inside, payload=data))
    sent = translate.request_v4(request.data, request.payload, OWN, inside, outside)
    assert sent[12:16] == OWN
    sent[12:16] = request.source
    read = IP(bytes(sent))
    assert (read.ttl, read.flags, read.dst) == (63, "DF", FAR[4])
    assert (read[ICMP].id, read[ICMP].seq) == (outside, 1)
    assert bytes(sent[28:]) == data
    assert icmp.has_valid_checksum(ip.parse(bytes(sent)))


@given(identifiers, st.binary(max_size=100))
def test_an_ipv6_request_keeps_everything_but_the_identifier(outside: int, data: bytes) -> None:
    request = ip.parse(echo_request(6, identifier=5, payload=data))
    sent = translate.request_v6(request.data, request.payload, outside)
    assert sent[:2] == request.body[:2]
    assert int.from_bytes(sent[4:6], "big") == outside
    assert sent[6:] == request.body[6:]


@pytest.mark.parametrize("version", [4, 6])
@given(inside=identifiers, outside=identifiers, data=st.binary(max_size=100))
def test_a_reply_arrives_as_its_sender_would_see_it(
    version: int, inside: int, outside: int, data: bytes
) -> None:
    request = echo_request(
        version, identifier=outside, payload=data, source="10.9.9.9" * (version == 4) or "fd99::9"
    )
    answer = ip.parse(icmp.echo_reply(ip.parse(request)))
    delivered = translate.answer(answer, ip_address(INSIDE[version]).packed, outside, inside)
    read = decoded(bytes(delivered))
    assert (read.src, read.dst) == (FAR[version], INSIDE[version])
    assert (read.ttl if version == 4 else read.hlim) == 63
    assert read.payload.id == inside
    assert bytes(read.payload)[8:] == data


def test_a_wrong_ipv4_checksum_is_not_corrected() -> None:
    data = bytearray(echo_request(4, identifier=1))
    data[22] ^= 0x55
    sent = translate.request_v4(data, 20, OWN, 1, 0xC001)
    assert not icmp.has_valid_checksum(ip.parse(bytes(sent)))
