"""Servers on the router's own machine, reached from a captured network by another interface: they
answer as if there were no router, also on connections from before its start."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e import ping, sockets
from tests.e2e.marks import WITH_AND_WITHOUT_OFFLOADS
from tests.e2e.tcp_bed import HOME, RULES, alongside
from tests.e2e.testbed import FAMILIES, V4, V6, Family, Testbed
from tests.e2e.tunrouter import TUN, running
from tests.e2e.wait import BOUND_S

MUCH = 2 << 20


@contextmanager
def from_outside(bed: Testbed, family: Family) -> Iterator[tuple[socket.socket, socket.socket]]:
    """(Far client, local server): a captured host connects to the router's home address."""
    with sockets.listener(bed.router) as listener:
        client = sockets.stream(bed.far, family)
        sockets.bind_foreign(client, family, family.far(HOME))
        client.connect((family.eth0, sockets.port_of(listener)))
        server, _ = listener.accept()
        server.settimeout(BOUND_S)
        with client, server:
            yield client, server


def exchange(client: socket.socket, server: socket.socket) -> None:
    """In both directions, and enough at once for the kernel to leave segmentation to the TUN."""
    client.sendall(b"question")
    assert server.recv(100) == b"question"

    def answer() -> None:
        server.sendall(bytes(MUCH))

    with alongside(answer):
        left = MUCH
        while left:
            left -= len(client.recv(min(left, 1 << 16)))


def refuses(bed: Testbed, family: Family) -> bool:
    """Whether a port without a server does."""
    with sockets.stream(bed.far, family) as client:
        sockets.bind_foreign(client, family, family.far(HOME))
        try:
            client.connect((family.eth0, 9))
        except ConnectionRefusedError:
            return True
    return False


@WITH_AND_WITHOUT_OFFLOADS
def test_servers_are_reached_and_closed_ports_refused(
    bed: Testbed, offloads: bool, tmp_path: Path
) -> None:
    """The reset of a closed port is an answer like any other."""
    for family in FAMILIES:
        with from_outside(bed, family) as (client, server):
            exchange(client, server)
        assert refuses(bed, family)
    with running(bed.router, tmp_path, RULES, offloads=offloads) as router:
        for family in FAMILIES:
            before = bed.router.counter(TUN, "tx_packets")
            with from_outside(bed, family) as (client, server):
                exchange(client, server)
                client.shutdown(socket.SHUT_WR)
                assert server.recv(1) == b""
                server.close()
                assert client.recv(1) == b""
            passed = bed.router.counter(TUN, "tx_packets") - before
            assert passed, f"{family}: not by the TUN at all"
            assert refuses(bed, family), family
        assert "no-connection" not in router.stop().counters


@WITH_AND_WITHOUT_OFFLOADS
def test_a_connection_from_before_goes_on(bed: Testbed, offloads: bool, tmp_path: Path) -> None:
    with from_outside(bed, V4) as four, from_outside(bed, V6) as six:
        for pair in (four, six):
            exchange(*pair)
        with running(bed.router, tmp_path, RULES, offloads=offloads):
            for pair in (four, six):
                exchange(*pair)
        for pair in (four, six):
            exchange(*pair)


def test_the_machine_answers_pings_from_a_captured_network(bed: Testbed, tmp_path: Path) -> None:
    own = [f"{each.far(HOME)}/{each.host_bits} dev lo" for each in FAMILIES]
    bed.far.ip(*(f"addr add {each}" for each in own))
    try:
        with running(bed.router, tmp_path, RULES) as router:
            for family in FAMILIES:
                pinged = ping.answered(bed.far, family.eth0, "-I", family.far(HOME))
                assert pinged.received == 3, family
            assert "icmp-type" not in router.stop().counters
    finally:
        bed.far.ip(*(f"addr del {each}" for each in own))
