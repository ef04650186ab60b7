"""Whether a program accepts connections at an address and port, asked of real sockets."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import pytest

from router.platform.linux.listeners import is_listening
from router.platform.linux.only_on_linux import SO_BINDTODEVICE

LO = socket.if_nametoindex("lo")
LOOPBACK = ip_address("127.0.0.1").packed
ANOTHER = ip_address("127.0.0.2").packed
LOOPBACK_V6 = ip_address("::1").packed


def bound(address: str, *, only_v6: bool = True) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only_v6)
    sock.bind((address, 0))
    return sock


@pytest.mark.parametrize(
    ("address", "only_v6", "reached", "not_reached"),
    [
        ("127.0.0.1", True, [LOOPBACK], [ANOTHER, LOOPBACK_V6]),
        ("0.0.0.0", True, [LOOPBACK, ANOTHER], [LOOPBACK_V6]),
        ("::1", True, [LOOPBACK_V6], [LOOPBACK]),
        ("::", True, [LOOPBACK_V6], [LOOPBACK]),
        ("::", False, [LOOPBACK_V6, LOOPBACK, ANOTHER], []),
    ],
    ids=["address", "any", "address-6", "any-6", "any-of-both"],
)
def test_the_addresses_of_a_listener(
    address: str, only_v6: bool, reached: list[bytes], not_reached: list[bytes]
) -> None:
    with bound(address, only_v6=only_v6) as sock:
        port = sock.getsockname()[1]
        assert not any(is_listening(each, port, LO) for each in (*reached, *not_reached))
        sock.listen()
        assert all(is_listening(each, port, LO) for each in reached)
        assert not any(is_listening(each, port, LO) for each in not_reached)
    assert not any(is_listening(each, port, LO) for each in reached)


def test_a_connection_is_no_listener() -> None:
    with bound("127.0.0.1") as server, bound("127.0.0.1") as client:
        server.listen()
        client.connect(server.getsockname())
        with server.accept()[0]:
            assert not is_listening(LOOPBACK, client.getsockname()[1], LO)
            assert is_listening(LOOPBACK, server.getsockname()[1], LO)


def test_udp_is_no_listener() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        assert not is_listening(LOOPBACK, sock.getsockname()[1], LO)


def test_a_listener_of_one_interface() -> None:
    with bound("127.0.0.1") as sock:
        sock.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, b"lo")
        sock.listen()
        assert is_listening(LOOPBACK, sock.getsockname()[1], LO)
