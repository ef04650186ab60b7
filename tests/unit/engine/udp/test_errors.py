"""The errors that an application receives about undelivered datagrams."""

from __future__ import annotations

import errno

import pytest

from router.flows.udp.flow import IDLE
from router.platform.base.sockets import NetworkError
from tests.unit.engine.udp.cases import (
    BOTH,
    HOME,
    NETWORK_UNREACHABLE,
    PORT_UNREACHABLE,
    PROHIBITED,
    TIME_EXCEEDED,
    TOO_BIG,
    datagram,
    error_in,
    only_socket,
    reported,
    to,
)
from tests.unit.engine.world import OWN, World, far
from tests.unit.wire.packets import INSIDE, decoded


@BOTH
def test_req_12_errors_quote_what_was_sent_and_end_no_mapping(world: World, version: int) -> None:
    """RFC 4787 REQ-12; the quote is what the application sent, the sender who reported it."""
    world.send(datagram(version), now=0.0)
    sock = only_socket(world)
    sock.incoming = [OSError(errno.ECONNREFUSED, "")]
    sock.queue = [reported(version, PORT_UNREACHABLE[version], far(version, HOME))]
    read, what, quote = error_in(world.receive(sock, now=200.0))
    assert what == PORT_UNREACHABLE[version]
    assert (read.src, read.dst) == (far(version, HOME), INSIDE[version])
    assert (read.ttl, read.tos) == (59, 0xC0) if version == 4 else (read.hlim, read.tc) == (59, 192)
    start = 20 if version == 4 else 40
    assert quote[start:] == datagram(version)[start:]
    assert decoded(quote).dst == far(version, HOME)
    assert world.send(datagram(version), now=IDLE - 1) == []
    assert only_socket(world) is sock


@BOTH
def test_req_12_errors_refresh_nothing(world: World, version: int) -> None:
    world.send(datagram(version), now=0.0)
    sock = only_socket(world)
    sock.queue = (
        [reported(version, TIME_EXCEEDED[version], "192.0.2.1")]
        if version == 4
        else [reported(version, TIME_EXCEEDED[version], "2001:db8:2::1")]
    )
    assert len(world.receive(sock, now=200.0)) == 1
    world.forwarder.expire(IDLE + 1)
    assert sock.closed


@BOTH
def test_an_error_of_the_local_kernel_is_sent_by_the_router(world: World, version: int) -> None:
    """A packet from one of the system's own addresses is not accepted out of the TUN."""
    world.send(datagram(version))
    sock = only_socket(world)
    sock.queue = [reported(version, NETWORK_UNREACHABLE[version], OWN["eth0"][version == 6])]
    read, what, _ = error_in(world.receive(sock))
    assert what == NETWORK_UNREACHABLE[version]
    assert read.src == ("192.168.7.2" if version == 4 else "fd77::2")


@BOTH
def test_an_error_without_a_flow_is_dropped(world: World, version: int) -> None:
    world.send(datagram(version, dport=8))
    sock = only_socket(world)
    sock.queue = [reported(version, PORT_UNREACHABLE[version], far(version, HOME))]
    assert world.receive(sock) == []
    assert world.drops == {"no-binding": 1}


@BOTH
def test_a_pending_error_does_not_lose_a_datagram(world: World, version: int) -> None:
    """The kernel reports it in place of sending, once."""
    world.send(datagram(version))
    sock = only_socket(world)
    sock.raises = [OSError(errno.ECONNREFUSED, "")]
    sock.queue = [reported(version, PORT_UNREACHABLE[version], far(version, HOME))]
    _, what, _ = error_in(world.send(datagram(version, payload=b"again")))
    assert what == PORT_UNREACHABLE[version]
    assert [sent.payload for sent in sock.sent] == [b"hello", b"again"]


@BOTH
def test_a_pending_error_with_an_empty_queue_does_not_lose_a_datagram(
    world: World, version: int
) -> None:
    """The kernel queues a report first and sets the socket's error afterwards: if the report is
    read in between, the error is raised in place of sending, with nothing in the queue."""
    world.send(datagram(version))
    sock = only_socket(world)
    sock.raises = [OSError(errno.EHOSTUNREACH, "")]
    assert world.send(datagram(version, payload=b"again")) == []
    assert [sent.payload for sent in sock.sent] == [b"hello", b"again"]


@BOTH
def test_req_13_too_long_for_the_interface_is_reported_with_its_mtu(
    world: World, version: int
) -> None:
    """RFC 4787 REQ-13: DF kept, and fragmentation needed with the MTU."""
    world.send(datagram(version))
    sock = only_socket(world)
    assert sock.sent[-1].dont_fragment
    sock.raises = [OSError(errno.EMSGSIZE, "")]
    sock.queue = [NetworkError(None, 0, 0, 1420, *to(version), b"", 0, 0)]
    read, what, _ = error_in(world.send(datagram(version, payload=bytes(1440))))
    assert what == TOO_BIG[version]
    assert int.from_bytes(bytes(read.payload)[4:8], "big") == 1420
    assert world.drops == {"too-big": 1}


@BOTH
def test_req_13_too_long_for_the_path_is_reported_with_its_mtu(world: World, version: int) -> None:
    """RFC 4787 REQ-13, reported from further away."""
    world.send(datagram(version))
    sock = only_socket(world)
    offender = "192.0.2.1" if version == 4 else "2001:db8:2::1"
    sock.queue = [reported(version, TOO_BIG[version], offender, b"hell", 1300)]
    read, what, quote = error_in(world.receive(sock))
    assert what == TOO_BIG[version]
    assert read.src == offender
    assert int.from_bytes(bytes(read.payload)[4:8], "big") == 1300
    assert len(quote) == (32 if version == 4 else 52)


@BOTH
def test_an_exceeded_hop_limit_is_reported_by_the_router(world: World, version: int) -> None:
    for _ in range(2):  # without a flow, and with one
        read, what, _ = error_in(world.send(datagram(version, hop_limit=1)))
        assert what == TIME_EXCEEDED[version]
        assert read.src == ("192.168.7.2" if version == 4 else "fd77::2")
        world.send(datagram(version))
    assert len(only_socket(world).sent) == 2
    assert world.drops == {"hop-limit": 2}


@BOTH
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (errno.ENETUNREACH, NETWORK_UNREACHABLE),
        (errno.EHOSTUNREACH, {4: (3, 1), 6: (1, 3)}),
        (errno.EPERM, PROHIBITED),
    ],
)
def test_send_errors_of_the_kernel_are_reported(
    world: World, version: int, code: int, expected: dict[int, tuple[int, int]]
) -> None:
    world.send(datagram(version))
    only_socket(world).raises = [OSError(code, "")] * 2
    assert error_in(world.send(datagram(version)))[1] == expected[version]


@BOTH
@pytest.mark.parametrize("error", [BlockingIOError(), OSError(errno.ENOBUFS, "")])
def test_a_full_buffer_is_counted_and_not_reported(
    world: World, version: int, error: OSError
) -> None:
    world.send(datagram(version))
    only_socket(world).raises = [error] * 2
    assert world.send(datagram(version)) == []
    assert world.drops == {"no-buffer": 1}
