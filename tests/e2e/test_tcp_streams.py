"""TCP streams: each side receives what the other sends, to its end, and FIN and RST stay distinct.

Each test runs by the home network and by the VPN, with and without offloads, and by the bare path.
"""

from __future__ import annotations

import errno
import hashlib
import random
import select
import socket
from functools import partial

import pytest

from tests.e2e import sockets
from tests.e2e.marks import WITH_AND_WITHOUT_OFFLOADS
from tests.e2e.tcp_bed import (
    BARE,
    HOME,
    RULES,
    VPN,
    alongside,
    conversation,
    outside_address,
    result_of,
)
from tests.e2e.testbed import Family, Testbed
from tests.e2e.wait import BOUND_S

pytestmark = [
    WITH_AND_WITHOUT_OFFLOADS,
    pytest.mark.rules(RULES),
    pytest.mark.usefixtures("router"),
]

MEGABYTE = 1 << 20
AT_ONCE = 1000


@pytest.fixture(params=[HOME, VPN, BARE], ids=["home", "vpn", "bare"])
def host(request: pytest.FixtureRequest) -> int:
    found: int = request.param
    return found


def noise(size: int, seed: int = 5) -> bytes:
    return random.Random(seed).randbytes(size)


def test_a_conversation(bed: Testbed, family: Family, host: int) -> None:
    with conversation(bed, family, host) as pair:
        for number in range(200):
            question = f"question {number}".encode()
            pair.client.sendall(question)
            assert pair.server.recv(100) == question
            pair.server.sendall(question.upper())
            assert pair.client.recv(100) == question.upper()


def test_a_local_program_and_its_own_address(bed: Testbed, family: Family, host: int) -> None:
    """The router's own machine is a client like any other, whatever address it binds to."""
    with conversation(bed, family, host, bed.router) as pair:
        pair.client.sendall(b"from the router's machine")
        assert pair.server.recv(100) == b"from the router's machine"
    with sockets.listener(bed.far) as listener, sockets.stream(bed.router, family) as client:
        client.bind((family.lan, 0))
        if host == BARE:
            client.connect((family.far(host), sockets.port_of(listener)))
        else:
            client.connect((family.far(host), sockets.port_of(listener)))
            server, peer = listener.accept()
            assert peer[0].removeprefix("::ffff:") in (family.eth0, family.wg0)
            server.close()


def test_only_the_leg_to_the_application_has_a_congestion_control_of_ours(
    bed: Testbed, family: Family
) -> None:
    def control_of(address: str) -> str:
        named = f"[{address}]" if ":" in address else address
        shown = bed.router.run("ss", "-Htin", "state", "established", "src", named).stdout
        return shown.splitlines()[1].split()[0]

    systems = bed.router.run("sysctl", "-n", "net.ipv4.tcp_congestion_control").stdout.strip()
    with conversation(bed, family, HOME) as pair:
        pair.client.sendall(b"accepted")
        assert pair.server.recv(100) == b"accepted"
        assert (control_of(family.tun), control_of(family.eth0)) == ("reno", systems)


def test_a_half_closed_upload_is_answered_with_its_digest(
    bed: Testbed, family: Family, host: int
) -> None:
    data = noise(16 * MEGABYTE)
    with conversation(bed, family, host) as pair:

        def serve() -> None:
            pair.server.sendall(hashlib.sha256(sockets.read_to_end(pair.server)).digest())
            pair.server.close()

        with alongside(serve):
            pair.client.sendall(data)
            pair.client.shutdown(socket.SHUT_WR)
            assert sockets.read_to_end(pair.client) == hashlib.sha256(data).digest()


def test_the_server_may_half_close_as_well(bed: Testbed, family: Family, host: int) -> None:
    with conversation(bed, family, host) as pair:
        pair.server.shutdown(socket.SHUT_WR)
        assert pair.client.recv(10) == b""
        pair.client.sendall(noise(MEGABYTE // 8))
        pair.client.close()
        assert sockets.read_to_end(pair.server) == noise(MEGABYTE // 8)


def test_both_at_once_and_much(bed: Testbed, family: Family, host: int) -> None:
    up, down = noise(2 * MEGABYTE, 1), noise(2 * MEGABYTE, 2)
    received: list[bytes] = []
    with conversation(bed, family, host) as pair:

        def serve() -> None:
            pair.server.sendall(down)
            pair.server.shutdown(socket.SHUT_WR)

        def receive() -> None:
            received.append(sockets.read_to_end(pair.server))

        def send() -> None:
            pair.client.sendall(up)
            pair.client.shutdown(socket.SHUT_WR)

        with alongside(serve), alongside(receive), alongside(send):
            assert sockets.read_to_end(pair.client) == down
    assert received == [up]


def test_a_server_that_sends_and_closes_at_once(bed: Testbed, family: Family, host: int) -> None:
    with sockets.listener(bed.far) as listener:
        for _ in range(20):
            client = sockets.connected(
                bed.client, family, family.far(host), sockets.port_of(listener)
            )
            server, _ = listener.accept()
            server.sendall(b"hello and goodbye")
            server.close()
            with client:
                assert sockets.read_to_end(client) == b"hello and goodbye"


def test_a_servers_reset_is_a_reset(bed: Testbed, family: Family, host: int) -> None:
    with conversation(bed, family, host) as pair:
        pair.server.sendall(b"before")
        assert pair.client.recv(6) == b"before"
        sockets.reset(pair.server)
        assert result_of(lambda: pair.client.recv(1)) == "ConnectionResetError"


def test_data_before_a_reset_is_delivered(bed: Testbed, family: Family, host: int) -> None:
    with conversation(bed, family, host) as pair:
        pair.server.sendall(b"last data")
        sockets.reset(pair.server)
        assert pair.client.recv(100) == b"last data"
        assert result_of(lambda: pair.client.recv(1)) == "ConnectionResetError"


def test_a_clients_reset_is_a_reset(bed: Testbed, family: Family, host: int) -> None:
    with conversation(bed, family, host) as pair:
        pair.client.sendall(b"x")
        assert pair.server.recv(1) == b"x"
        sockets.reset(pair.client)
        assert result_of(lambda: pair.server.recv(1)) == "ConnectionResetError"


@pytest.mark.parametrize("side", ["client", "server"])
def test_a_reset_after_a_half_close_is_passed_on_at_once(
    bed: Testbed, family: Family, host: int, side: str
) -> None:
    """The other side has received the FIN, and sends nothing that the reset would answer."""
    with conversation(bed, family, host) as pair:
        sender, receiver = (
            (pair.client, pair.server) if side == "client" else (pair.server, pair.client)
        )
        sender.shutdown(socket.SHUT_WR)
        assert receiver.recv(1) == b""
        sockets.reset(sender)
        assert _error_of(receiver) == errno.EPIPE


def test_a_write_to_a_closed_connection_fails(bed: Testbed, family: Family, host: int) -> None:
    with conversation(bed, family, host) as pair:
        pair.client.close()
        assert pair.server.recv(1) == b""
        pair.server.send(b"too late")
        assert _error_of(pair.server) == errno.EPIPE


def _error_of(sock: socket.socket) -> int:
    """The error of a socket when its connection has broken; 0: none for BOUND_S seconds."""
    poll = select.poll()
    poll.register(sock, select.POLLERR)
    poll.poll(BOUND_S * 1000)
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


@pytest.mark.parametrize("side", ["client", "server"])
def test_an_urgent_byte_holds_up_nothing(
    bed: Testbed, family: Family, host: int, side: str
) -> None:
    """With SO_OOBINLINE, as telnetd and ftpd use it."""
    with conversation(bed, family, host) as pair:
        sender, receiver = (
            (pair.client, pair.server) if side == "client" else (pair.server, pair.client)
        )
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        sender.sendall(b"before")
        sender.send(b"!", socket.MSG_OOB)
        sender.sendall(b"after")
        sender.shutdown(socket.SHUT_WR)
        assert sockets.read_to_end(receiver) == b"before!after"


def test_both_close_at_the_same_time(bed: Testbed, family: Family, host: int) -> None:
    for _ in range(20):
        with conversation(bed, family, host) as pair:
            pair.client.sendall(b"ready")
            assert pair.server.recv(5) == b"ready"
            with alongside(partial(pair.server.shutdown, socket.SHUT_WR)):
                pair.client.shutdown(socket.SHUT_WR)
            assert (pair.client.recv(1), pair.server.recv(1)) == (b"", b"")


def test_a_slow_reader_holds_up_no_other_connection(
    bed: Testbed, family: Family, host: int
) -> None:
    """What one does not read waits, with its own sender; another connection goes on."""
    with conversation(bed, family, host) as stuck, conversation(bed, family, host) as other:
        stuck.server.setblocking(False)
        sent = _fill(stuck.server)
        other.client.sendall(b"still there?")
        assert other.server.recv(100) == b"still there?"
        stuck.server.shutdown(socket.SHUT_WR)
        assert len(sockets.read_to_end(stuck.client)) == sent


def _fill(sock: socket.socket) -> int:
    """Sends until the socket accepts no more for a time; returns the number of bytes."""
    sent, refused = 0, 0
    piece = bytes(1 << 16)
    while refused < 1000:
        try:
            sent += sock.send(piece)
            refused = 0
        except BlockingIOError:
            refused += 1
    return sent


def test_a_thousand_connections_at_once(bed: Testbed, family: Family, host: int) -> None:
    """All are open at the same time, by the right outbound, and each receives its own number."""
    outside = outside_address(bed, family, host)
    with sockets.listener(bed.far) as listener:
        port = sockets.port_of(listener)
        clients = [sockets.stream(bed.client, family) for _ in range(AT_ONCE)]
        servers: list[socket.socket] = []
        try:
            for client in clients:
                client.setblocking(False)
                client.connect_ex((family.far(host), port))
            servers += [listener.accept()[0] for _ in clients]
            for server in servers:
                server.sendall(server.getpeername()[0].encode())
            for number, client in enumerate(clients):
                client.settimeout(BOUND_S)
                assert client.recv(100).decode().removeprefix("::ffff:") == outside
                client.sendall(str(number).encode())
            received = {server.recv(100) for server in servers}
            assert received == {str(number).encode() for number in range(AT_ONCE)}
        finally:
            for sock in clients + servers:
                sock.close()
