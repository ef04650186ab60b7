"""What happens when something runs out, and when the router stops: the new are refused, the old go
on, and nobody is left waiting."""

from __future__ import annotations

import contextlib
import socket
from functools import partial
from pathlib import Path

import pytest

from tests.e2e import sockets
from tests.e2e.tcp_bed import HOME, RULES, VPN, conversation, told
from tests.e2e.testbed import V4, Family, Testbed
from tests.e2e.tunrouter import rules, running
from tests.e2e.wait import wait_until

DESCRIPTORS = 260
SEVERAL = 80


@pytest.mark.parametrize("offloads", [True, False], ids=["offloads", "plain"])
def test_too_few_descriptors_refuse_new_connections(
    bed: Testbed, family: Family, tmp_path: Path, offloads: bool
) -> None:
    prefix = ("prlimit", f"--nofile={DESCRIPTORS}:{DESCRIPTORS}")
    with (
        running(bed.router, tmp_path, RULES, offloads=offloads, prefix=prefix) as router,
        sockets.listener(bed.far) as listener,
        contextlib.ExitStack() as stack,
    ):
        port = sockets.port_of(listener)
        pairs: list[tuple[socket.socket, socket.socket]] = []
        outcomes = []
        for _ in range(SEVERAL):
            client = stack.enter_context(sockets.stream(bed.client, family))
            outcomes.append(told(partial(sockets.connect, client, (family.far(HOME), port))))
            if outcomes[-1] == "success":
                pairs.append((client, stack.enter_context(listener.accept()[0])))
        assert 20 <= len(pairs) < SEVERAL
        assert "success" not in outcomes[len(pairs) :]
        for number, (client, server) in enumerate(pairs):
            client.sendall(b"%d" % number)
            assert server.recv(100) == b"%d" % number
        for client, server in pairs:
            client.close()
            server.close()
        wait_until(
            lambda: (
                told(lambda: sockets.connected(bed.client, family, family.far(HOME), port))
                == "success"
            ),
            "room for another",
        )
        assert router.stop().counters["table-full"] >= SEVERAL - len(pairs)


def test_without_a_local_port_left_new_connections_are_refused(
    bed: Testbed, tmp_path: Path
) -> None:
    """The machine has eight ports to connect from."""
    before = bed.router.run("sysctl", "-n", "net.ipv4.ip_local_port_range").stdout.split()
    bed.router.run("sysctl", "-qw", "net.ipv4.ip_local_port_range=40000 40007")
    try:
        with (
            running(bed.router, tmp_path, RULES) as router,
            sockets.listener(bed.far) as listener,
            contextlib.ExitStack() as stack,
        ):
            port, count, outcome = sockets.port_of(listener), 0, "success"
            while outcome == "success" and count < 20:
                client = stack.enter_context(sockets.stream(bed.client, V4))
                outcome = told(partial(sockets.connect, client, (V4.far(HOME), port)))
                count += outcome == "success"
            assert 1 <= count <= 8
            assert outcome == "OSError"
            assert router.stop().counters["table-full"] >= 1
    finally:
        bed.router.run("sysctl", "-qw", f"net.ipv4.ip_local_port_range={' '.join(before)}")


@pytest.mark.parametrize("offloads", [True, False], ids=["offloads", "plain"])
def test_a_router_that_stops_tells_both_ends(
    bed: Testbed, family: Family, tmp_path: Path, offloads: bool
) -> None:
    with (
        running(bed.router, tmp_path, RULES, offloads=offloads) as router,
        contextlib.ExitStack() as stack,
    ):
        pairs = [stack.enter_context(conversation(bed, family, host)) for host in (HOME, VPN) * 20]
        router.stop()
        for pair in pairs:
            assert told(partial(pair.client.recv, 1)) == "ConnectionResetError"
            assert told(partial(pair.server.recv, 1)) == "ConnectionResetError"


def test_a_way_out_that_is_gone_for_good_resets_its_connections(
    bed: Testbed, family: Family, tmp_path: Path
) -> None:
    with running(bed.router, tmp_path, RULES):
        with conversation(bed, family, VPN) as pair, conversation(bed, family, HOME) as other:
            bed.close_tunnel()
            try:
                assert told(lambda: pair.client.recv(1)) == "ConnectionResetError"
                assert _new(bed, family) == "ConnectionRefusedError"
                other.client.sendall(b"not disturbed")
                assert other.server.recv(100) == b"not disturbed"
            finally:
                bed.open_tunnel()
        wait_until(lambda: _new(bed, family) == "success", "the policy to come up again")


def _new(bed: Testbed, family: Family) -> str:
    """What a new connection by the VPN is told."""
    with sockets.listener(bed.far) as listener:
        port = sockets.port_of(listener)
        return told(lambda: sockets.connected(bed.client, family, family.far(VPN), port).close())


def test_a_rule_for_a_port_decides_once_a_connection(bed: Testbed, tmp_path: Path) -> None:
    with sockets.listener(bed.far) as one, sockets.listener(bed.far) as two:
        first, second = sockets.port_of(one), sockets.port_of(two)
        text = rules(f"{V4.far(HOME)} -> home").replace(
            "rules:\n",
            f"rules:\n  - {{cidr: {V4.far(HOME)}, protocol: tcp, port: {first}, policy: office}}\n",
        )
        with running(bed.router, tmp_path, text):
            for listener, port, source in ((one, first, V4.wg0), (two, second, V4.eth0)):
                client = sockets.connected(bed.client, V4, V4.far(HOME), port)
                server, peer = listener.accept()
                assert peer[0].removeprefix("::ffff:") == source
                client.close()
                server.close()
