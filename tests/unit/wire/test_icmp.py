"""ICMP messages that the router makes, as scapy reads them."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from router.wire import icmp, ip
from router.wire.icmp import Error
from tests.unit.wire.packets import FAR, ICMP, INSIDE, IP, UDP, IPv6, decoded, echo_request

PEER = {4: ip_address("192.168.7.2").packed, 6: ip_address("fd77::2").packed}


@pytest.mark.parametrize("version", [4, 6])
def test_an_echo_reply_carries_the_request_back(version: int) -> None:
    request = ip.parse(echo_request(version, identifier=0xBEEF, sequence=9, payload=b"payload"))
    answer = decoded(icmp.echo_reply(request))
    assert (answer.src, answer.dst) == (FAR[version], INSIDE[version])
    message = answer.payload
    assert message.type == (0 if version == 4 else 129)
    assert (message.id, message.seq) == (0xBEEF, 9)
    assert bytes(request.body)[8:] == b"payload" == bytes(message)[8:]


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("what", list(Error))
def test_an_error_quotes_the_packet_and_has_right_checksums(version: int, what: Error) -> None:
    about = ip.parse(echo_request(version))
    read = decoded(icmp.error(PEER[version], about, what, 1400))
    assert read.dst == INSIDE[version]
    assert ip_address(read.src).packed == PEER[version]
    message = bytes(read.payload)
    assert (message[0], message[1]) == what.type_and_code(version)
    assert message[4:8] == (1400).to_bytes(4, "big")
    assert message[8:] == about.data


@pytest.mark.parametrize(("version", "limit"), [(4, 576), (6, 1280)])
def test_an_error_is_no_longer_than_the_rfcs_allow(version: int, limit: int) -> None:
    about = ip.parse(echo_request(version, payload=bytes(3000)))
    assert len(icmp.error(PEER[version], about, Error.PROHIBITED)) == limit


@pytest.mark.parametrize("version", [4, 6])
def test_errors_are_distinguished_from_queries(version: int) -> None:
    request = ip.parse(echo_request(version))
    assert not icmp.is_error(request)
    assert icmp.is_error(ip.parse(icmp.error(PEER[version], request, Error.NO_ROUTE)))
    header = IP(src=INSIDE[4], dst=FAR[4]) if version == 4 else IPv6(src=INSIDE[6], dst=FAR[6])
    assert not icmp.is_error(ip.parse(bytes(header / UDP())))


def test_a_message_that_is_not_there_counts_as_an_error() -> None:
    assert icmp.is_error(ip.parse(bytes(IP(src="10.0.0.1", dst="10.0.0.2", proto=1))))


@pytest.mark.parametrize("version", [4, 6])
def test_checksums_are_verified(version: int) -> None:
    data = bytearray(echo_request(version))
    assert icmp.has_valid_checksum(ip.parse(bytes(data)))
    data[-1] ^= 1
    assert not icmp.has_valid_checksum(ip.parse(bytes(data)))


@pytest.mark.parametrize("version", [4, 6])
def test_requests_and_replies_are_recognised(version: int) -> None:
    request = ip.parse(echo_request(version))
    assert icmp.is_echo_request(request)
    assert icmp.message_type(request) in icmp.ANSWER_TO[version]
    reply = ip.parse(icmp.echo_reply(request))
    assert icmp.message_type(reply) == (0 if version == 4 else 129)
    assert icmp.REQUEST_OF[version][0 if version == 4 else 129] == icmp.message_type(request)


def test_a_fragment_is_no_whole_request() -> None:
    data = bytes(IP(src="10.0.0.1", dst="10.0.0.2", flags="MF") / ICMP() / bytes(16))
    assert not icmp.is_echo_request(ip.parse(data))


@pytest.mark.parametrize("version", [4, 6])
def test_the_key_of_a_query_is_read_only_if_it_would_pass_every_check(version: int) -> None:
    """Every byte flipped, every length."""
    packet = echo_request(version)
    for at in range(1, len(packet)):
        damaged = bytearray(packet)
        damaged[at] ^= 0xFF
        for data in (damaged, bytearray(packet[:at])):
            key = icmp.query_key(data)
            if key is None:
                continue
            whole = ip.parse(bytes(data))
            assert len(whole.data) == len(data)
            assert version == 4 or icmp.has_valid_checksum(whole)
            kind, number = icmp.message_type(whole), icmp.identifier(whole)
            assert kind >= 0
            assert whole.hop_limit > 1
            numbers = bytes((kind,)) + number.to_bytes(2, "big")
            assert key == whole.source + whole.destination + numbers


@pytest.mark.parametrize("version", [4, 6])
def test_the_key_of_a_usual_query_is_read(version: int) -> None:
    whole = ip.parse(echo_request(version, identifier=0x0102))
    expected = whole.source + whole.destination + bytes((8 if version == 4 else 128, 1, 2))
    assert icmp.query_key(bytearray(whole.data)) == expected
    assert icmp.query_key(bytearray(echo_request(version, hop_limit=1))) is None


def test_a_query_with_options_or_in_fragments_has_no_key_at_once() -> None:
    echo = ICMP(id=7) / b"01234567"
    for head in (IP(dst=FAR[4], options=[b"\x01"] * 4), IP(dst=FAR[4], flags="MF")):
        assert icmp.query_key(bytearray(bytes(head / echo))) is None
