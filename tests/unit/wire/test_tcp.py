"""The reset, by the table of RFC 9293, section 3.10.7.1, read by scapy."""

from __future__ import annotations

from typing import Any

import pytest

from router.wire import ip, tcp
from router.wire.transport import destination_port
from tests.unit.wire.packets import IP, TCP, UDP, IPv6, decoded


def segment(version: int, **fields: Any) -> ip.Packet:
    header = (
        IP(src="10.0.0.1", dst="10.0.0.2") if version == 4 else IPv6(src="fd00::1", dst="fd00::2")
    )
    payload = fields.pop("payload", b"")
    return ip.parse(bytes(header / TCP(sport=1000, dport=443, **fields) / payload))


@pytest.mark.parametrize("version", [4, 6])
def test_a_connection_request_is_acknowledged_and_reset(version: int) -> None:
    answer = tcp.reset(segment(version, flags="S", seq=41))
    assert answer is not None
    read = decoded(answer)[TCP]
    assert (read.sport, read.dport, read.flags, read.seq, read.ack) == (443, 1000, "RA", 0, 42)


@pytest.mark.parametrize("version", [4, 6])
def test_data_without_acknowledgement_is_counted(version: int) -> None:
    answer = tcp.reset(segment(version, flags="F", seq=0xFFFFFFFF, payload=b"abc"))
    assert answer is not None
    assert decoded(answer)[TCP].ack == 3


@pytest.mark.parametrize("version", [4, 6])
def test_an_acknowledged_segment_is_reset_where_its_sender_is(version: int) -> None:
    answer = tcp.reset(segment(version, flags="A", seq=5, ack=77, payload=b"data"))
    assert answer is not None
    read = decoded(answer)[TCP]
    assert (read.flags, read.seq) == ("R", 77)


def test_a_reset_is_never_answered() -> None:
    assert tcp.reset(segment(4, flags="R")) is None
    assert tcp.reset(segment(4, flags="RA")) is None


def test_a_segment_that_is_cut_off_is_not_answered() -> None:
    whole = segment(4, flags="S").data
    for length in range(20, len(whole)):
        data = bytearray(whole[:length])
        data[2:4] = length.to_bytes(2, "big")
        assert tcp.reset(ip.parse(bytes(data))) is None


def test_ports_are_seen_where_there_are_any() -> None:
    assert destination_port(segment(4, flags="S")) == 443
    assert destination_port(segment(6, flags="S")) == 443
    udp = ip.parse(bytes(IP(src="10.0.0.1", dst="10.0.0.2") / UDP(dport=53)))
    assert destination_port(udp) == 53
    later = ip.parse(bytes(IP(src="10.0.0.1", dst="10.0.0.2", proto=17, frag=10) / (b"x" * 16)))
    assert destination_port(later) == 0
    assert destination_port(ip.parse(bytes(IP(src="10.0.0.1", dst="10.0.0.2", proto=47)))) == 0


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    ("flags", "payload", "options", "found"),
    [
        ("A", b"", [], 4_000_000_000),
        ("A", b"?", [("NOP", None)] * 12, 4_000_000_000),
        ("PA", b"", [], 4_000_000_000),
        ("A", b"no", [], None),
        ("", b"", [], None),
        ("SA", b"", [], None),
        ("FA", b"", [], None),
        ("RA", b"", [], None),
    ],
)
def test_what_may_be_a_keepalive_probe(
    version: int, flags: str, payload: bytes, options: list[Any], found: int | None
) -> None:
    made = segment(version, flags=flags, seq=4_000_000_000, payload=payload, options=options)
    frame = bytearray(made.data)
    assert tcp.probe_sequence(frame, made.payload, len(frame)) == found


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"flags": "SA", "seq": 7}, True),
        ({"flags": "RA", "seq": 0}, True),
        ({"flags": "RA", "seq": 7}, False),
        ({"flags": "R", "seq": 0}, False),
        ({"flags": "S", "seq": 7}, False),
        ({"flags": "A", "seq": 0}, False),
        ({"flags": "FA", "seq": 0}, False),
    ],
)
def test_what_answers_a_request(version: int, fields: dict[str, Any], expected: bool) -> None:
    assert tcp.answers_request(segment(version, **fields)) is expected


@pytest.mark.parametrize("version", [4, 6])
def test_a_bare_segment_has_the_addresses_and_ports(version: int) -> None:
    packet = segment(version, flags="A")
    key = packet.source + packet.destination + tcp.ports(packet)
    bare = ip.parse(tcp.bare(key))
    assert (bare.source, bare.destination, bare.protocol) == (
        packet.source,
        packet.destination,
        ip.TCP,
    )
    assert tcp.ports(bare) == tcp.ports(packet)
