"""UDP: checks and packets, compared with scapy."""

from __future__ import annotations

from ipaddress import ip_address
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.wire import icmp, ip, offload, udp
from router.wire.headers import UDP_CHECKSUM
from tests.unit.wire.packets import (
    FAR,
    INSIDE,
    IP,
    TCP,
    UDP,
    IPv6,
    IPv6ExtHdrDestOpt,
    Packet,
    Raw,
    decoded,
)

BOTH = pytest.mark.parametrize("version", [4, 6])
SENDER = {4: "192.0.2.1", 6: "2001:db8:2::1"}
PAYLOADS = st.one_of(
    st.binary(max_size=200),
    st.integers(0, 2000).map(bytes),
    st.integers(0, 2000).map(lambda size: b"\xff" * size),
)


def datagram(
    version: int,
    payload: bytes = b"hello",
    *,
    len: int | None = None,  # noqa: A002 - scapy's name
    chksum: int | None = None,
) -> bytes:
    header = (IP if version == 4 else IPv6)(src=INSIDE[version], dst=FAR[version])
    return bytes(header / UDP(sport=4000, dport=53, len=len, chksum=chksum) / Raw(payload))


def envelope(version: int) -> udp.Envelope:
    return udp.Envelope(
        ip_address(INSIDE[version]).packed, 4000, ip_address(FAR[version]).packed, 53
    )


@given(
    version=st.sampled_from([4, 6]),
    payload=PAYLOADS,
    hop_limit=st.integers(1, 255),
    traffic_class=st.integers(0, 255),
    identification=st.integers(0, 0xFFFF),
)
def test_what_is_sealed_is_what_scapy_would_send(
    version: int, payload: bytes, hop_limit: int, traffic_class: int, identification: int
) -> None:
    sealed = envelope(version).seal(payload, hop_limit, traffic_class, identification)
    if version == 4:
        header: Packet = IP(
            src=INSIDE[4], dst=FAR[4], ttl=hop_limit, tos=traffic_class, id=identification
        )
    else:
        header = IPv6(src=INSIDE[6], dst=FAR[6], hlim=hop_limit, tc=traffic_class)
    assert sealed == bytes(header / UDP(sport=4000, dport=53) / Raw(payload))


@given(version=st.sampled_from([4, 6]), payload=PAYLOADS)
def test_what_scapy_sends_is_sound(version: int, payload: bytes) -> None:
    packet = ip.parse(datagram(version, payload))
    size = udp.length(packet)
    assert size == len(payload) + udp.HEADER
    assert udp.has_valid_checksum(packet, size)


def test_a_sum_that_comes_out_as_zero_is_sent_as_all_ones() -> None:
    """RFC 768: zero would mean that there is no checksum."""
    sealed = envelope(4).seal(b"\0\0", 64)
    field = int.from_bytes(sealed[26:28], "big")
    again = envelope(4).seal(field.to_bytes(2, "big"), 64)
    assert again[26:28] == b"\xff\xff"
    assert decoded(again)[UDP].chksum == 0xFFFF
    packet = ip.parse(again)
    assert udp.has_valid_checksum(packet, 10)


@BOTH
def test_no_checksum_is_for_ipv4_alone(version: int) -> None:
    packet = ip.parse(datagram(version, chksum=0))
    assert udp.has_valid_checksum(packet, 13) == (version == 4)


@BOTH
def test_every_flipped_bit_is_seen(version: int) -> None:
    """In the datagram, and in the addresses that its checksum covers."""
    good = datagram(version, bytes(range(1, 32)))
    start = 20 if version == 4 else 40
    for at in range(12 if version == 4 else 8, len(good)):
        for bit in range(8):
            damaged = bytearray(good)
            damaged[at] ^= 1 << bit
            packet = ip.parse(bytes(damaged))
            if at in (start + 4, start + 5):
                continue  # the length is the next test's
            assert not udp.has_valid_checksum(packet, 8 + 31), (at, bit)


@BOTH
def test_the_length_must_fit(version: int) -> None:
    for stated, expected in ((0, None), (7, None), (8, 8), (12, 12), (13, 13), (14, None)):
        assert udp.length(ip.parse(datagram(version, b"hello", len=stated))) == expected
    cut = bytearray(datagram(version, b""))[:-1]
    field = slice(2, 4) if version == 4 else slice(4, 6)
    cut[field] = (len(cut) - (40 if version == 6 else 0)).to_bytes(2, "big")
    assert udp.length(ip.parse(bytes(cut))) is None


def test_options_and_extension_headers_stand_between() -> None:
    four = IP(src=INSIDE[4], dst=FAR[4], options=[b"\x01"] * 4) / UDP(sport=1, dport=2) / Raw(b"x")
    six = IPv6(src=INSIDE[6], dst=FAR[6]) / IPv6ExtHdrDestOpt() / UDP(sport=1, dport=2) / Raw(b"x")
    for data in (bytes(four), bytes(six)):
        packet = ip.parse(data)
        assert udp.length(packet) == 9
        assert udp.has_valid_checksum(packet, 9)


@BOTH
@pytest.mark.parametrize("size", [0, 1, 20, 600, 1400, 65_000])
def test_an_error_quotes_what_was_sent(version: int, size: int) -> None:
    payload = Random(size).randbytes(size)
    kind, code = icmp.Error.PORT_UNREACHABLE.type_and_code(version)
    error = envelope(version).error(
        ip_address(SENDER[version]).packed,
        icmp.Message(kind, code, 0),
        payload,
        size + udp.HEADER,
        57,
        0xC0,
    )
    read = decoded(error)
    assert (read.src, read.dst) == (SENDER[version], INSIDE[version])
    assert (read.ttl if version == 4 else read.hlim) == 57
    assert len(error) <= icmp.QUOTE_LIMIT[version]
    header = 20 if version == 4 else 40
    assert tuple(error[header : header + 2]) == (kind, code)
    quote = error[header + 8 :]
    sent = datagram(version, payload)
    sent = sent[:8] + b"\x01" + sent[9:10] if version == 4 else sent[:7] + b"\x01" + sent[8:]
    if version == 4:  # scapy fills in the header checksum for the hop limit that is left
        whole = IP(src=INSIDE[4], dst=FAR[4], ttl=1, id=0) / UDP(sport=4000, dport=53)
        sent = bytes(whole / Raw(payload))
    assert quote == sent[: len(quote)]
    assert len(quote) == min(len(sent), icmp.QUOTE_LIMIT[version] - header - 8)


@BOTH
def test_a_partial_quote_has_the_length_of_the_whole(version: int) -> None:
    """Its checksum cannot be known, so there is none: it is zero."""
    error = envelope(version).error(
        ip_address(SENDER[version]).packed, icmp.Message(3, 3), b"abcd", 1008
    )
    start = 28 if version == 4 else 48
    quoted = error[start:]
    if version == 4:
        assert int.from_bytes(quoted[2:4], "big") == 1028
        assert quoted[20:] == bytes(UDP(sport=4000, dport=53, len=1008, chksum=0)) + b"abcd"
    else:
        assert int.from_bytes(quoted[4:6], "big") == 1008
        assert quoted[40:] == bytes(UDP(sport=4000, dport=53, len=1008, chksum=0)) + b"abcd"


# Frames of the TUN


def frame_of(packet: bytes, flags: int = 0) -> bytearray:
    start = 20 if packet[0] >> 4 == 4 else 40
    return bytearray(offload.FIELDS.pack(flags, 0, 0, 0, start, UDP_CHECKSUM) + packet)


@given(version=st.sampled_from([4, 6]), payload=PAYLOADS, hop_limit=st.integers(1, 255))
def test_a_usual_frame_is_read_at_once(version: int, payload: bytes, hop_limit: int) -> None:
    packet = envelope(version).seal(
        payload, hop_limit, 0x2E, dont_fragment=ip.DONT_FRAGMENT if version == 4 else 0
    )
    frame = frame_of(packet)
    found = udp.framed(frame, len(frame))
    assert found is not None
    assert bytes(frame[found.start : found.end]) == payload
    assert (found.hop_limit, found.traffic_class) == (hop_limit, 0x2E)
    assert found.dont_fragment == ip.DONT_FRAGMENT
    addresses = (12, 24) if version == 4 else (8, 44)
    assert found.key == packet[slice(*addresses)]


@BOTH
def test_a_frame_is_read_only_if_it_would_pass_every_check(version: int) -> None:
    """Every byte flipped, every length, whatever the frame held before."""
    packet = datagram(version, bytes(range(1, 30)))
    for at in range(len(packet)):
        damaged = bytearray(packet)
        damaged[at] ^= 0xFF
        for data in (bytes(damaged), packet[:at]):
            frame = bytearray(b"\xa5" * 70_000)
            frame[: offload.HEADER] = bytes(offload.HEADER)
            frame[offload.HEADER : offload.HEADER + len(data)] = data
            found = udp.framed(frame, offload.HEADER + len(data))
            if found is None:
                continue
            whole = ip.parse(data)
            size = udp.length(whole)
            assert size is not None
            assert udp.has_valid_checksum(whole, size)
            assert not whole.is_fragment


@BOTH
def test_an_unfinished_checksum_is_taken_for_right(version: int) -> None:
    frame = frame_of(datagram(version, chksum=0x1234), offload.NEEDS_CHECKSUM)
    assert udp.framed(frame, len(frame)) is not None
    assert udp.framed(frame_of(datagram(version, chksum=0x1234)), len(frame)) is None


@pytest.mark.parametrize(
    "data",
    [
        bytes(IP(src=INSIDE[4], dst=FAR[4], flags="MF") / UDP(sport=1, dport=2) / Raw(b"12345678")),
        bytes(IP(src=INSIDE[4], dst=FAR[4], options=[b"\x01"] * 4) / UDP(sport=1, dport=2)),
        bytes(IPv6(src=INSIDE[6], dst=FAR[6]) / IPv6ExtHdrDestOpt() / UDP(sport=1, dport=2)),
        bytes(IP(src=INSIDE[4], dst=FAR[4]) / UDP(sport=1, dport=2, chksum=0)),
        bytes(IP(src=INSIDE[4], dst=FAR[4]) / TCP(sport=1, dport=2)),
    ],
)
def test_unusual_frames_are_left_to_the_general_parser(data: bytes) -> None:
    frame = frame_of(data)
    assert udp.framed(frame, len(frame)) is None


@given(
    version=st.sampled_from([4, 6]),
    size=st.integers(1, 1400),
    count=st.integers(1, 40),
    last=st.integers(1, 1400),
)
def test_a_run_is_one_long_datagram_to_be_cut(
    version: int, size: int, count: int, last: int
) -> None:
    payloads = [bytes((number,)) * size for number in range(count)] + [b"x" * min(last, size)]
    frame = bytearray(b"".join(envelope(version).run(payloads, 60, 4, 77)))
    flags, kind, header, segment, start, field = offload.FIELDS.unpack_from(frame)
    assert (flags, kind, segment) == (offload.NEEDS_CHECKSUM, offload.SEGMENT_UDP, size)
    assert (header, field) == (start + udp.HEADER, UDP_CHECKSUM)
    (whole,) = offload.packets(frame, len(frame))
    assert whole == envelope(version).seal(b"".join(payloads), 60, 4, 77)
