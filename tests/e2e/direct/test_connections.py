"""Connections of local programs: both ends see what they see on the bare path."""

from __future__ import annotations

import hashlib
import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

import pytest

from router.platform.linux.only_on_linux import MSG_FASTOPEN, TCP_KEEPIDLE
from tests.e2e import sockets
from tests.e2e.direct.ends import PATHS, Arrivals, connection, end, source_of
from tests.e2e.tcp_bed import Pair, alongside
from tests.e2e.testbed import FAMILIES, Family, Testbed
from tests.e2e.udp import HOME, OFFICE, RULES
from tests.e2e.wait import wait_until

pytestmark = [pytest.mark.rules(RULES), pytest.mark.usefixtures("direct")]

MEGABYTE = 1 << 20
UPLOAD = {HOME: 64 * MEGABYTE, OFFICE: 16 * MEGABYTE}
AT_ONCE = 1000
ONE_AFTER_ANOTHER = 3000
KEEPALIVE_S = 1
NO_COOKIE = {"far": 0x203, "router": 0x005}
"""net.ipv4.tcp_fastopen: server and client without a cookie."""


def sides(pair: Pair) -> tuple[tuple[socket.socket, socket.socket], ...]:
    return (pair.client, pair.server), (pair.server, pair.client)


@PATHS
def test_half_closes_from_either_end(bed: Testbed, family: Family, through: int, bare: int) -> None:
    for host in (through, bare):
        for side in (0, 1):
            with connection(bed, family, family.far(host)) as pair:
                first, other = sides(pair)[side]
                first.sendall(b"request")
                first.shutdown(socket.SHUT_WR)
                assert sockets.read_to_end(other) == b"request"
                answer = bytes(MEGABYTE)
                with alongside(partial(_send_and_close, other, answer)):
                    assert sockets.read_to_end(first) == answer


def _send_and_close(sock: socket.socket, data: bytes) -> None:
    sock.sendall(data)
    sock.close()


@PATHS
def test_resets_from_either_end(bed: Testbed, family: Family, through: int, bare: int) -> None:
    for host in (through, bare):
        for side in (0, 1):
            with connection(bed, family, family.far(host)) as pair:
                first, other = sides(pair)[side]
                sockets.reset(first)
                with pytest.raises(ConnectionResetError):
                    other.recv(1)


@PATHS
def test_urgent_bytes(bed: Testbed, family: Family, through: int, bare: int) -> None:
    for host in (through, bare):
        with connection(bed, family, family.far(host)) as pair:
            for sender, receiver in sides(pair):
                sender.sendall(b"before")
                sender.send(b"!", socket.MSG_OOB)
                sender.sendall(b"after")
                assert wait_until(partial(_urgent, receiver), "an urgent byte") == b"!"
                assert receiver.recv(100) == b"before"
                assert receiver.recv(5) == b"after"


def _urgent(sock: socket.socket) -> bytes:
    """Nothing as long as none has arrived."""
    try:
        return sock.recv(1, socket.MSG_OOB)
    except OSError:
        return b""


def test_keepalive_probes_arrive(bed: Testbed) -> None:
    """By all paths side by side, as each takes a second."""
    with ExitStack() as stack:
        arrivals = stack.enter_context(Arrivals(bed.far))
        waiting = set()
        for family in FAMILIES:
            for host in (HOME, OFFICE):
                pair = stack.enter_context(connection(bed, family, family.far(host)))
                pair.client.setsockopt(socket.IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_S)
                pair.client.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                pair.client.sendall(b"x")
                assert pair.server.recv(1) == b"x"
                waiting.add(pair.client.getsockname()[1])
        while waiting:
            probe = arrivals.wait_for(
                lambda each: (
                    each.protocol == socket.IPPROTO_TCP
                    and int.from_bytes(each.payload[:2]) in waiting
                    and len(each.payload) == (each.payload[12] >> 4) * 4
                ),
                "a segment without data",
            )
            waiting.discard(int.from_bytes(probe.payload[:2]))


@PATHS
def test_many_at_once(bed: Testbed, family: Family, through: int, bare: int) -> None:
    """Each with an address and port of its own, and its own data."""
    with sockets.listener(bed.far) as listener, ExitStack() as stack:
        to = (family.far(through), sockets.port_of(listener))
        clients = {}
        for _ in range(AT_ONCE):
            client = stack.enter_context(sockets.stream(bed.router, family))
            client.setblocking(False)
            client.connect_ex(to)
            clients[client.getsockname()[1]] = client
        for _ in range(AT_ONCE):
            server, peer = listener.accept()
            stack.enter_context(server)
            assert end(peer)[0] == source_of(family, through)
            client = clients.pop(peer[1])
            client.settimeout(20)
            client.sendall(str(peer[1]).encode())
            assert server.recv(100) == str(peer[1]).encode()
        assert not clients


def test_many_one_after_another(bed: Testbed, family: Family) -> None:
    """More than there are at once, each with data both ways and an end by the server; by the
    interface and by the VPN in turn."""
    with sockets.listener(bed.far) as listener:
        for number in range(ONE_AFTER_ANOTHER):
            host = family.far((HOME, OFFICE)[number % 2] + number % 16)
            with sockets.connected(bed.router, family, host, sockets.port_of(listener)) as client:
                server, peer = listener.accept()
                with server:
                    assert end(peer) == end(client.getsockname())
                    client.sendall(b"question")
                    assert server.recv(100) == b"question"
                    server.sendall(b"answer")
                assert sockets.read_to_end(client) == b"answer"


@pytest.fixture
def fast_open(bed: Testbed) -> Iterator[None]:
    """TCP fast open at both ends, without a cookie."""
    before = {}
    for name, value in NO_COOKIE.items():
        namespace = getattr(bed, name)
        before[name] = int(namespace.run("sysctl", "-n", "net.ipv4.tcp_fastopen").stdout)
        namespace.sysctl(ipv4__tcp_fastopen=value)
    yield
    for name, value in before.items():
        getattr(bed, name).sysctl(ipv4__tcp_fastopen=value)


@PATHS
def test_fast_open(bed: Testbed, fast_open: None, family: Family, through: int, bare: int) -> None:
    for host in (through, bare):
        with (
            Arrivals(bed.far) as arrivals,
            sockets.listener(bed.far) as listener,
            sockets.stream(bed.router, family) as client,
        ):
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 16)
            client.sendto(b"at once", MSG_FASTOPEN, (family.far(host), sockets.port_of(listener)))
            request = arrivals.wait_for(lambda each: each.data.endswith(b"at once"), "the data")
            assert request.payload[13] & 0x12 == 0x02, "with the request"
            server, _ = listener.accept()
            with server:
                assert server.recv(100) == b"at once"


@PATHS
def test_an_upload_arrives_whole(
    bed: Testbed, family: Family, by_sockets: bool, through: int, bare: int
) -> None:
    """Most of it in frames that the system has yet to cut."""
    data = random.Random(through).randbytes(UPLOAD[through])
    with connection(bed, family, family.far(through)) as pair:
        digest = hashlib.sha256()
        with alongside(partial(_send_and_close, pair.client, data)):
            while piece := pair.server.recv(1 << 18):
                digest.update(piece)
    assert digest.digest() == hashlib.sha256(data).digest()


@PATHS
def test_a_download_arrives_whole(bed: Testbed, family: Family, through: int, bare: int) -> None:
    data = random.Random(through).randbytes(4 * MEGABYTE)
    with (
        connection(bed, family, family.far(through)) as pair,
        alongside(partial(_send_and_close, pair.server, data)),
    ):
        assert sockets.read_to_end(pair.client) == data


@PATHS
def test_a_server_connects_back(bed: Testbed, family: Family, through: int, bare: int) -> None:
    """To the address that it sees, as in active FTP."""
    for host in (through, bare):
        with connection(bed, family, family.far(host)) as pair, sockets.listener(bed.router) as own:
            pair.client.sendall(str(sockets.port_of(own)).encode())
            port = int(pair.server.recv(100))
            back = sockets.stream(bed.far, family)
            sockets.bind_foreign(back, family, family.far(host))
            back.connect((end(pair.server.getpeername())[0], port))
            with back, own.accept()[0] as accepted:
                assert end(accepted.getpeername()) == end(back.getsockname())
                back.sendall(b"data")
                assert accepted.recv(100) == b"data"
                accepted.sendall(b"done")
                assert back.recv(100) == b"done"


@PATHS
def test_a_port_that_is_closed(bed: Testbed, family: Family, through: int, bare: int) -> None:
    for host in (through, bare):
        with pytest.raises(ConnectionRefusedError):
            sockets.connected(bed.router, family, family.far(host), 9)
