"""Connected sockets as the kernel lists them, asked about real ones on the loopback interface."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import pytest

from router.platform.base.connections import Connection
from router.platform.linux.connections import connections

TCP, UDP = socket.IPPROTO_TCP, socket.IPPROTO_UDP


@contextmanager
def connected(address: str) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A client and its server."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with (
        socket.create_server((address, 0), family=family) as server,
        socket.create_connection(server.getsockname()[:2]) as client,
        server.accept()[0] as accepted,
    ):
        yield client, accepted


def listed(sock: socket.socket, protocol: int, version: int) -> Connection | None:
    """The connection of a socket, if there is one."""
    port = sock.getsockname()[1]
    found = (each for some in connections(version, protocol) for each in some)
    peer = sock.getpeername()[1]
    return next(
        (each for each in found if (each.source_port, each.destination_port) == (port, peer)), None
    )


@pytest.mark.parametrize(("address", "headers"), [("127.0.0.1", 52), ("::1", 72)])
def test_a_connection_and_its_traffic(address: str, headers: int) -> None:
    with connected(address) as (client, server):
        client.sendall(bytes(1000))
        received = 0
        while received < 1000:
            received += len(server.recv(1000))
        found = listed(client, TCP, ip_address(address).version)
    assert found is not None
    assert found.traffic is not None
    assert (found.protocol, found.state, found.interface) == (TCP, "established", 0)
    assert found.source == found.destination == ip_address(address).packed
    traffic = found.traffic
    assert traffic.packets_out >= 3
    assert traffic.bytes_out == 1000 + traffic.packets_out * headers
    assert traffic.packets_in >= 1
    assert traffic.bytes_in == traffic.packets_in * headers
    assert traffic.round_trip is not None
    assert 0 < traffic.round_trip < 60
    assert 0 <= traffic.idle < 60
    assert traffic.resent == (1, 0)


def test_an_ipv6_socket_that_is_connected_by_ipv4() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as client,
    ):
        client.connect(("::ffff:127.0.0.1", server.getsockname()[1]))
        found = listed(client, TCP, 6)
    assert found is not None
    assert found.source == found.destination == ip_address("127.0.0.1").packed


def test_udp_is_listed_where_it_is_connected() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", 9))
        found = listed(sock, UDP, 4)
    assert found is not None
    assert (found.destination_port, found.traffic) == (9, None)


@pytest.mark.parametrize("address", ["127.0.0.1", "::"])
def test_udp_is_listed_where_it_is_not_connected(address: str) -> None:
    version = ip_address(address).version
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind((address, 0))
        port = sock.getsockname()[1]
        found = [each for some in connections(version, UDP) for each in some]
    (one,) = (each for each in found if each.source_port == port and not each.is_connected)
    assert (one.source, one.state, one.traffic) == (ip_address(address).packed, "unconnected", None)


def test_listeners_are_no_connections() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        found = [each for some in connections(4, TCP) for each in some]
    assert port not in [each.source_port for each in found]


def test_many_come_in_several_steps() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=512) as server:
        clients = [socket.create_connection(server.getsockname()) for _ in range(300)]
        try:
            steps = list(connections(4, TCP))
        finally:
            for client in clients:
                client.close()
    assert max(map(len, steps)) < 300
    ports = {each.source_port for some in steps for each in some}
    assert len(ports) >= 300
