"""TCP sockets of Linux, by a connection within this machine."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any, cast

import pytest

from router.platform.base.tcp import ANY_PORT, USUAL_HOP_LIMIT
from router.platform.linux.error_queue import RECVERR
from router.platform.linux.tcp import LinuxTcpSockets
from router.policy.network import Interface

LOOPBACK = Interface("lo", 1, True, 65536)
OF_TRACE = 7


@pytest.fixture
def sockets() -> LinuxTcpSockets:
    return LinuxTcpSockets(cast(Any, None), splicing=True)


@pytest.fixture
def sock(sockets: LinuxTcpSockets) -> Iterator[socket.socket]:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        sockets.dialling(4, LOOPBACK, ANY_PORT, USUAL_HOP_LIMIT, 0) as made,
    ):
        made.connect_ex(server.getsockname())
        server.accept()[0].close()
        yield made


def hops(sock: socket.socket) -> tuple[int, int]:
    """The hop limit, and whether ICMP errors are queued."""
    levels = (socket.IP_TTL, RECVERR[4])
    limit, queues = (sock.getsockopt(socket.IPPROTO_IP, each) for each in levels)
    return limit, queues


def test_the_usual_hop_limit_is_that_of_any_socket(sock: socket.socket) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as other:
        assert hops(sock) == hops(other)


def test_a_hop_limit_lasts_until_it_is_connected(sockets: LinuxTcpSockets) -> None:
    with sockets.dialling(4, LOOPBACK, ANY_PORT, OF_TRACE, 0) as sock:
        assert hops(sock) == (OF_TRACE, 1)
        sockets.connected(sock)
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as other:
            assert hops(sock) == hops(other)
