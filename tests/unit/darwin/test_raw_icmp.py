"""Raw ICMP of xnu, by golden bytes and by an emulation of the kernel's steps."""

from __future__ import annotations

import socket
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.platform.darwin.echo_ids import is_of_others
from router.platform.darwin.icmp6_filter import passing
from router.platform.darwin.icmp_socket import configure
from router.platform.darwin.raw_icmp import (
    RawIcmpSocket,
    RawIcmpv6Socket,
    as_on_the_wire,
    as_to_be_sent,
)
from tests.unit.darwin import layouts
from tests.unit.darwin.xnu_raw import delivered, has_meaning, sent

REPLY = "4500 0054 1234 0000 40 01 0000 c6336401 c0a80107 0000 1f2e 0001 0002" + "00" * 56
REPLY_DELIVERED = REPLY.replace("0054 1234 0000", "4000 1234 0000")
DF_DELIVERED = REPLY.replace("0054 1234 0000", "4000 1234 0040")
QUOTED = "4500 0554 0001 4000 01 11 0000 c0a80107 c6336401 8000 829a 0540 0000"
EXCEEDED = "45c0 0038 0000 0000 ff 01 0000 0a000001 c0a80107 0b00 f4ff 00000000" + QUOTED
EXCEEDED_DELIVERED = "45c0 2400 0000 0000 ff 01 0000 0a000001 c0a80107 0b00 f4ff 00000000" + (
    QUOTED.replace("4500 0554", "4500 5405")
)


@pytest.mark.parametrize(
    ("received", "wire"),
    [
        (REPLY_DELIVERED, REPLY),
        (DF_DELIVERED, REPLY.replace("1234 0000", "1234 4000")),
        (EXCEEDED_DELIVERED, EXCEEDED),
    ],
    ids=["reply", "reply-df", "time-exceeded"],
)
def test_golden_bytes(received: str, wire: str) -> None:
    assert as_on_the_wire(bytes.fromhex(received)) == bytes.fromhex(wire)
    assert delivered(bytes.fromhex(wire)) == bytes.fromhex(received)


def test_what_is_sent_has_length_and_fragment_field_in_host_order() -> None:
    wire = bytes.fromhex(REPLY.replace("1234 0000", "1234 4000"))
    request = as_to_be_sent(wire)
    assert request[2:4] == b"\x54\x00"
    assert request[6:8] == b"\x00\x40"
    assert sent(bytes(request)) == wire


@given(
    kind=st.integers(0, 18),
    code=st.integers(0, 20),
    options=st.integers(0, 10),
    rest=st.binary(min_size=34, max_size=200),
    fragment=st.sampled_from([0, 0x4000]),
)
def test_every_message_is_as_it_was_on_the_wire(
    kind: int, code: int, options: int, rest: bytes, fragment: int
) -> None:
    header = 20 + 4 * options
    size = header + 2 + len(rest)
    start = bytes([0x40 | header // 4, 0]) + size.to_bytes(2, "big")
    head = start + b"\x12\x34" + fragment.to_bytes(2, "big")
    wire = head.ljust(header, b"\1") + bytes([kind, code]) + rest
    assert as_on_the_wire(delivered(wire)) == wire
    assert sent(bytes(as_to_be_sent(wire))) == wire


def test_every_type_and_code_of_an_error() -> None:
    wire = bytearray.fromhex(EXCEEDED)
    for wire[20], wire[21] in product(range(19), range(20)):
        assert as_on_the_wire(delivered(bytes(wire))) == wire


@given(st.binary(max_size=80))
def test_whatever_the_bytes_are_nothing_is_raised(packet: bytes) -> None:
    assert len(as_on_the_wire(packet)) == len(packet)
    assert len(as_to_be_sent(packet)) == len(packet)


def test_an_error_without_a_meaning_for_the_kernel_has_its_quote_as_it_was() -> None:
    assert not has_meaning(3, 16)
    wire = bytes.fromhex(EXCEEDED.replace("0b00 f4ff", "0310 f4ff"))
    assert delivered(wire)[28:] == wire[28:]
    assert as_on_the_wire(delivered(wire)) == wire


def test_a_set_bit_passes_a_type() -> None:
    """ICMP6_FILTER_WILLPASS, netinet/icmp6.h:632."""
    types = {1, 2, 3, 4, 129}
    words = layouts.Icmp6Filter.from_buffer_copy(passing(types)).icmp6_filt
    passed = {kind for kind in range(256) if words[kind >> 5] & 1 << (kind & 31)}
    assert passed == types


class Options:
    """A socket's options, by level and number (netinet/in.h, netinet6/in6.h)."""

    def __init__(self) -> None:
        self.set: dict[tuple[int, int], int | bytes] = {}
        self.blocks = True

    def setsockopt(self, level: int, option: int, value: int | bytes, /) -> None:
        self.set[level, option] = value

    def setblocking(self, flag: bool, /) -> None:
        self.blocks = flag


@pytest.mark.parametrize(
    ("version", "bound", "others"),
    [(4, (0, 25), {(0, 26), (0, 2)}), (6, (41, 125), {(41, 35), (41, 37), (41, 61), (58, 18)})],
)
def test_the_options_of_a_raw_socket(
    version: int, bound: tuple[int, int], others: set[tuple[int, int]]
) -> None:
    sock = Options()
    configure(sock, version, 4)
    buffers = {(socket.SOL_SOCKET, socket.SO_RCVBUF), (socket.SOL_SOCKET, socket.SO_SNDBUF)}
    assert sock.set.keys() == {bound, *others, *buffers}
    assert sock.set[bound] == 4
    assert not sock.blocks


@pytest.mark.parametrize("version", [4, 6])
def test_what_is_about_queries_of_other_programs(version: int) -> None:
    """An answer, and an error that quotes a query; errors about anything else are left."""
    ids = range(0x8000, 0x10000)
    answer = {4: 0, 6: 129}[version]
    exceeded = {4: 11, 6: 3}[version]
    query = bytes([8 if version == 4 else 128, 0, 0, 0])
    header = {
        4: bytes.fromhex("4600 0054 0000 0000 40 01 0000 c0a80107 c6336401 00000000"),
        6: bytes.fromhex("6000 0000 0010 3a 40") + bytes(32),
    }[version]
    for number in (0, 7, 0x7FFF, 0x8000, 0xFFFF):
        identifier = number.to_bytes(2, "big") + bytes(2)
        for message in (
            bytes([answer, 0, 0, 0]) + identifier,
            bytes([exceeded]) + bytes(7) + header + query + identifier,
        ):
            assert is_of_others(version, message, ids) is (number < 0x8000)
    at = {4: 9, 6: 6}[version]
    about_udp = header[:at] + b"\x11" + header[at + 1 :]
    assert not is_of_others(version, bytes([exceeded]) + bytes(7) + about_udp + bytes(8), ids)


@given(version=st.sampled_from([4, 6]), message=st.binary(max_size=80))
def test_a_message_of_any_bytes(version: int, message: bytes) -> None:
    assert not is_of_others(version, message, range(1 << 16))


class Arriving(socket.socket):
    """A socket whose packets arrive by interfaces, as xnu delivers them."""

    def recvmsg(self, size: int, ancillary_size: int = 0, flags: int = 0) -> Any:
        frame = super().recv(size)
        if not frame[0]:
            return frame[1:], [], 0, None
        info = frame[:1] + bytes(11)
        return frame[1:], [(0, 99, b""), (0, 26, info)], 0, None


class Both(RawIcmpSocket, Arriving):
    pass


def test_what_has_arrived_by_another_interface_is_discarded() -> None:
    kernel, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock = Both(ours.family, ours.type, ours.proto, fileno=ours.detach())
    with kernel, sock:
        sock.setblocking(False)
        sock.interface, sock.echo_ids = 4, range(1, 2)
        for index in (5, 0, 4):
            kernel.send(bytes([index]) + bytes.fromhex(REPLY_DELIVERED))
        kernel.send(b"\5" + bytes.fromhex(DF_DELIVERED))
        kernel.send(b"\4" + bytes.fromhex(REPLY_DELIVERED.replace("0001 0002", "0007 0002")))
        assert sock.recv(2000) == bytes.fromhex(REPLY)
        with pytest.raises(BlockingIOError):
            sock.recv(2000)


class ArrivingV6(socket.socket):
    """The same of IPv6."""

    def recvmsg(self, size: int, ancillary_size: int = 0, flags: int = 0) -> Any:
        frame = super().recv(size)
        hop_limit = (41, 47, b"\x40" + bytes(3))
        info = layouts.In6Pktinfo(ipi6_ifindex=frame[0])
        return frame[1:], [hop_limit, (41, 46, bytes(info))][: 2 if frame[0] else 1], 0, None


class BothV6(RawIcmpv6Socket, ArrivingV6):
    pass


def test_what_has_arrived_by_another_interface_is_discarded_of_ipv6_too() -> None:
    kernel, ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock = BothV6(ours.family, ours.type, ours.proto, fileno=ours.detach())
    reply = bytes.fromhex("81000000 0001 0002")
    with kernel, sock:
        sock.setblocking(False)
        sock.interface, sock.echo_ids = 4, range(1, 2)
        for index in (5, 0):
            kernel.send(bytes([index]) + reply)
        kernel.send(b"\4" + bytes.fromhex("81000000 0007 0002"))
        with pytest.raises(BlockingIOError):
            sock.recvmsg(2000)
        kernel.send(b"\4" + reply)
        assert sock.recvmsg(2000)[0] == reply
