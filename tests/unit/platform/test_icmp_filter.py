"""The kernel's filter, run by the kernel: a socket pair needs no root and runs the program on
the very bytes that are sent."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from router.flows.icmp import OUTSIDE_IDS
from router.platform.linux import icmp_filter
from router.wire import icmp, ip
from router.wire.icmp import Error
from tests.unit.wire.packets import IP, TCP, UDP, IPv6, IPv6ExtHdrDestOpt, echo_request

SO_DETACH_FILTER = 27
"""asm-generic/socket.h."""
OURS, LAST, FOREIGN = OUTSIDE_IDS[0], OUTSIDE_IDS[-1], OUTSIDE_IDS[0] - 1
ROUTER = {4: b"\x0a\0\0\1", 6: bytes(15) + b"\x09"}


def passes(version: int, packet: bytes) -> bool:
    """Whether a raw socket would be given `packet`. Raw ICMPv6 sockets begin at the message."""
    sender, receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with sender, receiver:
        icmp_filter.attach(receiver, icmp_filter.program(version, OUTSIDE_IDS))
        sender.send(packet if version == 4 else packet[40:])
        receiver.setblocking(False)
        try:
            received = receiver.recv(65535)
        except BlockingIOError:
            return False
    return len(received) == len(packet if version == 4 else packet[40:])


def reply(version: int, identifier: int) -> bytes:
    return icmp.echo_reply(ip.parse(echo_request(version, identifier=identifier)))


def error(version: int, about: bytes, what: Error = Error.NO_ROUTE) -> bytes:
    return icmp.error(ROUTER[version], ip.parse(about), what)


@pytest.mark.parametrize("version", [4, 6])
def test_replies_by_identifier(version: int) -> None:
    assert passes(version, reply(version, OURS))
    assert passes(version, reply(version, LAST))
    assert not passes(version, reply(version, FOREIGN))
    assert not passes(version, reply(version, 0))


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("what", [Error.NO_ROUTE, Error.HOP_LIMIT_EXCEEDED, Error.TOO_BIG])
def test_errors_by_the_identifier_that_they_quote(version: int, what: Error) -> None:
    assert passes(version, error(version, echo_request(version, identifier=OURS), what))
    assert not passes(version, error(version, echo_request(version, identifier=FOREIGN), what))


@pytest.mark.parametrize("version", [4, 6])
def test_requests_and_other_protocols_are_filtered(version: int) -> None:
    assert not passes(version, echo_request(version, identifier=OURS))
    header = IP(src="10.0.0.1", dst="10.0.0.2") if version == 4 else IPv6(src="::8", dst="::9")
    assert not passes(version, error(version, bytes(header / UDP(sport=OURS, dport=OURS))))


@pytest.mark.parametrize("what", list(Error))
def test_host_unreachable_about_a_datagram_may_be_of_our_own_kernel(what: Error) -> None:
    """In IPv4; all others arrive in the error queue of the datagram's own socket."""
    for version in (4, 6):
        header = IP(src="10.0.0.1", dst="10.0.0.2") if version == 4 else IPv6(src="::8", dst="::9")
        is_passed = version == 4 and what is Error.HOST_UNREACHABLE
        assert passes(version, error(version, bytes(header / UDP()), what)) == is_passed
        assert not passes(version, error(version, bytes(header / TCP()), what))


def test_a_quote_behind_options_is_looked_at_by_the_router_itself() -> None:
    four = bytes(IP(src="10.0.0.1", dst="10.0.0.2", options=[b"\x01" * 4], proto=17) / bytes(16))
    assert passes(4, error(4, four))
    six = bytes(IPv6(src="::8", dst="::9") / IPv6ExtHdrDestOpt() / UDP())
    assert passes(6, error(6, six))


def test_a_header_with_options_moves_the_message() -> None:
    plain = reply(4, OURS)
    longer = bytes((0x46,)) + plain[1:20] + b"\x01\x01\x01\x00" + plain[20:]
    foreign = reply(4, FOREIGN)
    assert passes(4, longer)
    assert not passes(4, bytes((0x46,)) + foreign[1:20] + b"\x01\x01\x01\x00" + foreign[20:])


@pytest.mark.parametrize("cut", [lambda packet: packet[:21], lambda packet: packet[:25]])
def test_what_is_cut_off_is_refused(cut: Callable[[bytes], bytes]) -> None:
    assert not passes(4, cut(reply(4, OURS)))


def test_nobody_replaces_or_removes_it() -> None:
    """Not even root, so that a socket that was handed over stays as it is (socket(7))."""
    sender, receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with sender, receiver:
        icmp_filter.attach(receiver, [icmp_filter.REFUSE])
        for option in (SO_DETACH_FILTER, icmp_filter.SO_LOCK_FILTER):
            with pytest.raises(PermissionError):
                receiver.setsockopt(socket.SOL_SOCKET, option, 0)
        with pytest.raises(PermissionError):
            icmp_filter.attach(receiver, [(icmp_filter.RETURN, 0, 0, icmp_filter.WHOLE)])
        sender.send(b"anything")
        receiver.setblocking(False)
        with pytest.raises(BlockingIOError):
            receiver.recv(1)
