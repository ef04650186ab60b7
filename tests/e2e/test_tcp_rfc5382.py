"""RFC 5382, NAT behavioural requirements for TCP: a test for each, named by it, with and without
offloads.

A relay that ends TCP in the kernel meets most of them by what the kernel does; tested
here is that the router does not prevent it.
"""

from __future__ import annotations

import errno
import select
import socket
from functools import partial

import pytest

from router.flows.tcp import flow as flows
from tests.e2e import sockets
from tests.e2e.capture import Capture
from tests.e2e.marks import WITH_AND_WITHOUT_OFFLOADS
from tests.e2e.tcp_bed import BARE, HOME, RULES, conversation, result_of
from tests.e2e.testbed import Family, Testbed
from tests.e2e.wait import wait_until

pytestmark = [
    WITH_AND_WITHOUT_OFFLOADS,
    pytest.mark.rules(RULES),
    pytest.mark.usefixtures("router"),
]


def test_req_1_one_inside_address_and_port_to_many_hosts(bed: Testbed, family: Family) -> None:
    """Mapping: connections from one port to different hosts are connections of their own."""
    with sockets.listener(bed.far) as listener:
        port = sockets.port_of(listener)
        clients = [sockets.stream(bed.client, family) for _ in range(2)]
        for client in clients:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            client.bind((family.client, 33033))
        for client, host in zip(clients, (1, 2), strict=True):
            client.connect((family.far(host), port))
        for _ in clients:
            server, _ = listener.accept()
            server.sendall(server.getsockname()[0].encode())
            server.close()
        for client, host in zip(clients, (1, 2), strict=True):
            assert client.recv(100).decode().removeprefix("::ffff:") == family.far(host)
            sockets.reset(client)


def test_req_2_simultaneous_open(bed: Testbed, family: Family) -> None:
    """All valid sequences: the far side's own request crosses the one that is dialling."""
    with sockets.stream(bed.far, family) as far, sockets.stream(bed.client, family) as client:
        sockets.bind_foreign(far, family, family.far(HOME))
        name = family.far(HOME)
        bed.far.run("nft", "-f", "-", stdin=HOLD_BACK.format(port=sockets.port_of(far)))
        try:
            client.setblocking(False)
            outcome = client.connect_ex((name, sockets.port_of(far)))
            assert outcome == errno.EINPROGRESS
            dialling = wait_until(lambda: _dialer(bed, sockets.port_of(far)), "a dial")
            far.setblocking(False)
            far.connect_ex((family.eth0, dialling))
            wait_until(lambda: select.select([], [client], [], 0)[1], "the connection")
            assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        finally:
            bed.far.run("nft", "delete", "table", "inet", "hold")
        client.sendall(b"at the same time")
        wait_until(lambda: select.select([far], [], [], 0)[0], "the data")
        assert far.recv(100) == b"at the same time"


HOLD_BACK = """
table inet hold {{
  chain input {{
    type filter hook input priority 0
    tcp dport {port} tcp flags & (syn | ack) == syn drop
  }}
}}
"""
"""The far side must not receive the request: it would refuse it, as it has no listener."""


def _dialer(bed: Testbed, port: int) -> int:
    """The local port of the router's socket that connects to `port`; 0 if there is none."""
    shown = bed.router.run("ss", "-Htn", "state", "syn-sent", f"( dport = :{port} )").stdout
    local = shown.split()[2] if shown.strip() else ":0"
    return int(local.rpartition(":")[2])


def test_req_3_filtering_by_address_and_port(bed: Testbed, family: Family) -> None:
    """Another sender is refused at the port of a connection: the socket is connected."""
    with conversation(bed, family, HOME) as pair:
        _, outside, *_ = pair.server.getpeername()
        with sockets.stream(bed.far, family) as other:
            other.setblocking(False)
            other.connect_ex((family.eth0, outside))
            wait_until(lambda: select.select([], [other], [], 0)[1], "a refusal")
            refused = other.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            assert refused == errno.ECONNREFUSED
        pair.client.sendall(b"not disturbed")
        assert pair.server.recv(100) == b"not disturbed"


def test_req_4_is_not_met_an_unsolicited_request_is_refused_at_once_as_by_any_host(
    bed: Testbed, family: Family
) -> None:
    """The requirement is no answer for 6 seconds. The kernel, whose ports these are, answers, as
    that of a host without a router does; see docs/limits.md. No inside host gets a packet of it."""
    with Capture(bed.client, "tcp") as capture:
        results = {
            name: result_of(partial(sockets.connected, bed.far, family, address, 40404))
            for name, address in (("router", family.eth0), ("bare", family.far(BARE)))
        }
        assert results == dict.fromkeys(("router", "bare"), "ConnectionRefusedError")
        assert capture.packets() == []


def test_req_5_idle_connections_outlive_two_hours_and_four_minutes() -> None:
    """With the clock as an argument: see tests/unit/flows/test_tcp.py for the table's own tests."""
    assert flows.ESTABLISHED >= 2 * 3600 + 4 * 60
    assert flows.TRANSITORY >= 4 * 60


def test_req_8_hairpinning_is_the_kernels(bed: Testbed, family: Family) -> None:
    """Inside hosts reach each other, and the router, by their own addresses: nothing is mapped."""
    with sockets.listener(bed.router) as listener:
        client = sockets.connected(bed.client, family, family.lan, sockets.port_of(listener))
        server, peer = listener.accept()
        assert peer[0].removeprefix("::ffff:") == family.client
        client.close()
        server.close()


def test_req_9_an_icmp_error_is_translated(bed: Testbed, family: Family) -> None:
    """A narrow link before the client: the error about a segment too big for it, which is
    addressed to the far host, makes our own kernel send smaller ones."""
    with conversation(bed, family, HOME) as pair:
        pair.client.sendall(b"ready")
        assert pair.server.recv(5) == b"ready"
        bed.router.ip(f"route add {family.client} dev lan0 mtu 1300")
        try:
            pair.server.sendall(bytes(1 << 18))
            left = 1 << 18
            while left:
                left -= len(pair.client.recv(left))
        finally:
            bed.router.ip(f"route del {family.client} dev lan0 mtu 1300")


def test_req_10_an_icmp_error_ends_no_connection(bed: Testbed, family: Family) -> None:
    """The far host becomes unreachable for a moment, with an ICMP error; the connection goes on."""
    with conversation(bed, family, HOME) as pair, Capture(bed.router) as capture:
        bed.gw.ip(f"route add unreachable {family.far(HOME)}")
        try:
            pair.client.sendall(b"patience")
            wait_until(
                lambda: [seen for seen in capture.on("eth0") if "unreachable" in seen.text],
                "an ICMP error",
            )
        finally:
            bed.gw.ip(f"route del unreachable {family.far(HOME)}")
        assert pair.server.recv(100) == b"patience"
