"""A connection from the port of one that has just ended is a new one, and is dialled for.

The time between them must not matter: the segment that ends the former connection and the request
for the next reach the router together. Each test runs by the home network and by the bare path.
"""

from __future__ import annotations

import errno
import socket
from contextlib import ExitStack
from functools import partial

import pytest

from tests.e2e import sockets
from tests.e2e.marks import WITH_AND_WITHOUT_OFFLOADS
from tests.e2e.tcp_bed import BARE, HOME, RULES
from tests.e2e.testbed import Family, Testbed
from tests.e2e.wait import BOUND_S, wait_until

pytestmark = [
    WITH_AND_WITHOUT_OFFLOADS,
    pytest.mark.rules(RULES),
    pytest.mark.usefixtures("router"),
]

PORTS = "net.ipv4.ip_local_port_range"
TIMES = 30
PORT = 33034


@pytest.fixture(params=[HOME, BARE], ids=["home", "bare"])
def host(request: pytest.FixtureRequest) -> int:
    found: int = request.param
    return found


def from_the_port(family: Family) -> socket.socket:
    """A socket of the calling thread's namespace that connects from PORT."""
    kind = socket.AF_INET if family.version == 4 else socket.AF_INET6
    sock = socket.socket(kind, socket.SOCK_STREAM)
    sock.settimeout(BOUND_S)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("", PORT))
    return sock


def outcome(client: socket.socket, address: tuple[str, int]) -> str:
    """The name of the error of connect(), or "success"."""
    try:
        sockets.connect(client, address)
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, "nothing in time")
    return "success"


def test_programs_of_this_machine_get_other_ports_than_a_relayed_connection_has(
    bed: Testbed, family: Family
) -> None:
    """By the direct path they have the same address as it, and to the far end a second connection
    from its port would be the first one again."""
    others = {PORT + 1, PORT + 2, PORT + 3}
    before = bed.router.run("sysctl", "-n", PORTS).stdout.split()
    with sockets.listener(bed.far) as listener, ExitStack() as stack:
        address = (family.far(HOME), sockets.port_of(listener))
        from_port = partial(from_the_port, family)
        client = stack.enter_context(sockets.within(bed.client, from_port))
        sockets.connect(client, address)
        server = stack.enter_context(listener.accept()[0])
        taken = set()
        bed.router.run("sysctl", "-qw", f"{PORTS}={PORT} {PORT + 3}")
        try:
            for _ in others:
                program = stack.enter_context(sockets.stream(bed.router, family))
                sockets.connect(program, address)
                taken.add(sockets.port_of(program))
            with sockets.stream(bed.router, family) as program:
                assert outcome(program, address) == "EADDRNOTAVAIL"
        finally:
            bed.router.run("sysctl", "-qw", f"{PORTS}={' '.join(before)}")
        assert taken == others
        client.sendall(b"question")
        assert server.recv(100) == b"question"


def test_after_a_reset_without_a_listener(bed: Testbed, family: Family, host: int) -> None:
    for _ in range(TIMES):
        with sockets.listener(bed.far) as listener:
            address = (family.far(host), sockets.port_of(listener))
            first = sockets.within(bed.client, partial(from_the_port, family))
            sockets.connect(first, address)
            server, _ = listener.accept()
        again = partial(_reset_and_connect, first, family, address)
        assert sockets.within(bed.client, again) == "ECONNREFUSED"
        server.close()


def _reset_and_connect(first: socket.socket, family: Family, address: tuple[str, int]) -> str:
    sockets.reset(first)
    with from_the_port(family) as second:
        return outcome(second, address)


def test_after_a_reset_by_a_live_server(bed: Testbed, family: Family, host: int) -> None:
    with sockets.listener(bed.far) as listener:
        address = (family.far(host), sockets.port_of(listener))
        client = sockets.within(bed.client, partial(from_the_port, family))
        sockets.connect(client, address)
        for _ in range(TIMES):
            server, _ = listener.accept()
            server.settimeout(BOUND_S)
            client.sendall(b"question")
            assert server.recv(100) == b"question"
            server.sendall(b"answer")
            assert client.recv(100) == b"answer"
            client = sockets.within(bed.client, partial(_another, client, family, address))
            server.close()
        sockets.reset(client)


def _another(former: socket.socket, family: Family, address: tuple[str, int]) -> socket.socket:
    sockets.reset(former)
    client = from_the_port(family)
    sockets.connect(client, address)
    return client


def test_after_both_have_closed_without_a_listener(bed: Testbed, family: Family, host: int) -> None:
    """The server first, so that the client's port is free at once; what is left of the former
    connection at the other end (TIME_WAIT) accepts a later request, if there is a listener."""
    for _ in range(3):
        with sockets.listener(bed.far) as listener:
            address = (family.far(host), sockets.port_of(listener))
            first = sockets.within(bed.client, partial(from_the_port, family))
            sockets.connect(first, address)
            server, _ = listener.accept()
        server.close()
        assert first.recv(1) == b""
        first.close()
        attempt = partial(_attempt, family, address)
        result = wait_until(partial(sockets.within, bed.client, attempt), "a free port")
        assert result == "ECONNREFUSED"


def _attempt(family: Family, address: tuple[str, int]) -> str | None:
    """The outcome of connect(); None while the former connection waits for its last
    acknowledgement."""
    with from_the_port(family) as client:
        result = outcome(client, address)
    return None if result == "EADDRNOTAVAIL" else result
