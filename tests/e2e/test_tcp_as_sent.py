"""What segments tell the far end about their application: its port, and its traffic class.

Both are compared with the bare path. A port that is not free at the outside address is replaced,
and never prevents a connection.
"""

from __future__ import annotations

import socket

import pytest

from router.wire import ip
from tests.e2e import sockets
from tests.e2e.capture import Capture
from tests.e2e.netns import Namespace
from tests.e2e.tcp_bed import HOME, PATHS, RULES, conversation
from tests.e2e.testbed import Family, Testbed
from tests.e2e.tunrouter import relayed

pytestmark = [pytest.mark.rules(relayed(RULES)), pytest.mark.usefixtures("router")]

EPHEMERAL, HIGH, OF_A_SERVICE = 40001, 64001, 5061
"""Within net.ipv4.ip_local_port_range, above, and below it."""
LOW_DELAY, ASSURED = 0x10, 0x28
TRAFFIC_CLASS = {
    4: (socket.IPPROTO_IP, socket.IP_TOS),
    6: (socket.IPPROTO_IPV6, socket.IPV6_TCLASS),
}

ports = pytest.mark.parametrize("port", [EPHEMERAL, HIGH])
hosts = pytest.mark.parametrize("host", PATHS, ids=["home", "office", "bare"])


def _from_port(namespace: Namespace, family: Family, port: int) -> socket.socket:
    sock = sockets.stream(namespace, family)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("", port))
    return sock


def _port_seen(client: socket.socket, listener: socket.socket, address: str) -> int:
    """The client's port as the far end has it."""
    sockets.connect(client, (address, sockets.port_of(listener)))
    server, peer = listener.accept()
    with server:
        client.sendall(b"question")
        assert server.recv(100) == b"question"
    port: int = peer[1]
    return port


@hosts
@ports
@pytest.mark.parametrize("where", ["client", "router"])
def test_the_source_port_is_kept(
    bed: Testbed, family: Family, host: int, port: int, where: str
) -> None:
    namespace = bed.client if where == "client" else bed.router
    with (
        sockets.listener(bed.far) as listener,
        sockets.stream(namespace, family) as unbound,
    ):
        seen = _port_seen(unbound, listener, family.far(host))
        assert seen == sockets.port_of(unbound)
        if where == "client":
            with _from_port(namespace, family, port) as bound:
                assert _port_seen(bound, listener, family.far(host)) == port


@ports
def test_two_hosts_may_have_one_port(bed: Testbed, family: Family, port: int) -> None:
    """The second one gets another to the same destination, and the same one to a third."""
    bed.client.ip(f"addr add {_second(family)} dev lan0")
    try:
        with (
            sockets.listener(bed.far) as listener,
            sockets.listener(bed.far) as other,
            sockets.stream(bed.client, family) as first,
            sockets.stream(bed.client, family) as second,
            sockets.stream(bed.client, family) as third,
        ):
            for sock in (first, second, third):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            first.bind((family.client, port))
            second.bind((_second(family).partition("/")[0], port))
            third.bind((family.client, port))
            address = (family.far(HOME), sockets.port_of(listener))
            sockets.connect(first, address)
            server, peer = listener.accept()
            with server:
                assert peer[1] == port
                assert _port_seen(second, listener, family.far(HOME)) != port
                assert _port_seen(third, other, family.far(HOME)) == port
    finally:
        bed.client.ip(f"addr del {_second(family)} dev lan0")


def _second(family: Family) -> str:
    return "10.1.0.3/24" if family.version == 4 else "fd01::3/64"


def test_a_port_of_services_is_left_to_them(bed: Testbed, family: Family) -> None:
    """Also to one that starts later, without SO_REUSEADDR."""
    with (
        sockets.listener(bed.far) as listener,
        _from_port(bed.client, family, OF_A_SERVICE) as client,
        sockets.stream(bed.router, family) as service,
    ):
        assert _port_seen(client, listener, family.far(HOME)) != OF_A_SERVICE
        service.bind(("", OF_A_SERVICE))
        service.listen()


@ports
def test_a_port_that_a_program_has_is_replaced(bed: Testbed, family: Family, port: int) -> None:
    with sockets.stream(bed.router, family) as program, sockets.listener(bed.far) as listener:
        program.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        program.bind(("", port + 1))
        program.listen()
        with _from_port(bed.client, family, port + 1) as client:
            assert _port_seen(client, listener, family.far(HOME)) != port + 1


@ports
def test_a_port_in_time_wait_is_replaced(bed: Testbed, family: Family, port: int) -> None:
    """The client ends first, so the router's kernel waits after the outer connection."""
    with sockets.listener(bed.far) as listener:
        address = (family.far(HOME), sockets.port_of(listener))
        for _ in range(3):
            client = _from_port(bed.client, family, port)
            sockets.connect(client, address)
            server, _ = listener.accept()
            client.shutdown(socket.SHUT_WR)
            assert server.recv(1) == b""
            server.close()
            assert client.recv(1) == b""
            sockets.reset(client)


@hosts
def test_a_traffic_class_of_later_segments_arrives(bed: Testbed, family: Family, host: int) -> None:
    level, option = TRAFFIC_CLASS[family.version]
    with conversation(bed, family, host) as pair:
        port = sockets.port_of(pair.server)
        found = []
        with Capture(bed.far, f"tcp dst port {port}", raw=True) as far:
            for traffic_class in (LOW_DELAY, LOW_DELAY, ASSURED, 0):
                pair.client.setsockopt(level, option, traffic_class)
                pair.client.sendall(b"question")
                assert pair.server.recv(100) == b"question"
                far.settle()
                data = [each.data for each in far.raw_packets() if b"question" in each.data]
                found.append(ip.parse(data[-1]).traffic_class)
        assert found == [LOW_DELAY, LOW_DELAY, ASSURED, 0]
