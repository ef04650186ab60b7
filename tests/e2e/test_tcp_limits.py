"""When a resource runs out, new connections are refused and old ones go on; when the router stops,
both ends of each are reset."""

from __future__ import annotations

import contextlib
import errno
import socket
from functools import partial
from pathlib import Path

import pytest

from tests.e2e import sockets
from tests.e2e.marks import WITH_AND_WITHOUT_OFFLOADS
from tests.e2e.status import read_status
from tests.e2e.tcp_bed import HOME, RULES, VPN, Pair, alongside, conversation, result_of
from tests.e2e.testbed import FAMILIES, V4, Family, Testbed
from tests.e2e.tunrouter import PROGRAM, Tunrouter, rules, running
from tests.e2e.wait import BOUND_S, wait_until

FEW = (400, 401)
"""Descriptors: for UDP's quarter of them the last is no even number, of which connections take
two; nor is what pipes then find."""
SEVERAL = 300
PROHIBITED = {4: errno.EHOSTUNREACH, 6: errno.EACCES}
ROUNDS = 400


@pytest.mark.parametrize("few", FEW)
def test_too_few_descriptors_refuse_new_connections(
    bed: Testbed, family: Family, tmp_path: Path, few: int, offloads: bool
) -> None:
    """A quarter of them is UDP's; then come connections whose data is not read, so that all
    hold pipes, until one is refused."""
    with (
        running(bed.router, tmp_path, RULES, offloads=offloads, prefix=limited(few)) as router,
        sockets.listener(bed.far) as listener,
        contextlib.ExitStack() as stack,
    ):
        port = sockets.port_of(listener)
        _fill_with_datagrams(bed, family, few, stack)
        pairs: list[Pair] = []
        outcomes = []
        for _ in range(SEVERAL):
            client = stack.enter_context(sockets.stream(bed.client, family))
            outcomes.append(_outcome(client, (family.far(HOME), port)))
            if outcomes[-1]:
                break
            pairs.append(Pair(client, stack.enter_context(listener.accept()[0])))
            _exchange(pairs[-1], b"hello")
            _fill(pairs[-1])
        assert len(pairs) >= 10
        assert outcomes[len(pairs) :] == [PROHIBITED[family.version]]
        assert (_pipes(router) > 0) is offloads, "what waits does so in pipes, where there are any"
        assert router.descriptors() < few
        status = read_status(bed.router)
        assert status["flows"]["tcp"] == len(pairs)
        assert status["drops"]["table-full"] >= 1
        for number, pair in enumerate(pairs):
            _empty(pair)
            _exchange(pair, b"%d" % number)
        for pair in pairs:
            pair.close()
        wait_until(lambda: _new_by_home(bed, family, port) == "success", "room for another")


def test_as_many_descriptors_as_the_system_lets_it_have(bed: Testbed, tmp_path: Path) -> None:
    with running(bed.router, tmp_path, RULES, prefix=limited(256, 4096)) as router:
        limits = Path(f"/proc/{router.pid}/limits").read_text(encoding="ascii")
        (files,) = [line for line in limits.splitlines() if line.startswith("Max open files")]
        assert files.split()[3:5] == ["4096", "4096"]


def test_too_few_descriptors_for_a_connection_are_an_error_at_the_start(
    bed: Testbed, tmp_path: Path
) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(RULES, encoding="utf-8")
    done = bed.router.run(*limited(64), PROGRAM, "run", "-c", str(file), check=False)
    assert done.returncode == 1
    assert "the limit of 64 open files leaves none for a TCP connection" in done.stderr
    assert "ulimit -Hn" in done.stderr
    assert "ready" not in done.stderr


def limited(soft: int, hard: int | None = None) -> tuple[str, ...]:
    return ("prlimit", f"--nofile={soft}:{hard or soft}")


def _fill_with_datagrams(
    bed: Testbed, family: Family, few: int, stack: contextlib.ExitStack
) -> None:
    for _ in range(few // 4 + 5):
        sock = sockets.datagram(bed.client, family)
        stack.enter_context(sock).sendto(b"x", (family.far(HOME), 9))


def _outcome(client: socket.socket, address: tuple[str, int]) -> int:
    """The errno of an attempt to connect; 0 for success."""
    try:
        sockets.connect(client, address)
    except OSError as error:
        return error.errno or -1
    return 0


def _pipes(router: Tunrouter) -> int:
    """How many descriptors of pipes the router has."""
    opened = Path(f"/proc/{router.pid}/fd").iterdir()
    return sum(1 for each in opened if str(each.readlink()).startswith("pipe:"))


def _exchange(pair: Pair, data: bytes) -> None:
    for one, other in ((pair.client, pair.server), (pair.server, pair.client)):
        one.sendall(data)
        assert other.recv(len(data), socket.MSG_WAITALL) == data


def _fill(pair: Pair) -> None:
    """Sends in both directions without reading, until data waits in the router."""
    for sock in (pair.client, pair.server):
        sock.setblocking(False)
    for _ in range(ROUNDS):
        with contextlib.suppress(BlockingIOError):
            pair.server.send(bytes(1 << 16))
        with contextlib.suppress(BlockingIOError):
            pair.client.send(bytes(1 << 16))


def _empty(pair: Pair) -> None:
    """Reads what was sent, to the last byte, which is marked."""
    for sock in (pair.client, pair.server):
        sock.setblocking(True)
        sock.settimeout(BOUND_S)
    for one, other in ((pair.client, pair.server), (pair.server, pair.client)):
        with alongside(partial(one.sendall, b"!")):
            while not other.recv(1 << 20).endswith(b"!"):
                pass


def _new_by_home(bed: Testbed, family: Family, port: int) -> str:
    return result_of(lambda: sockets.connected(bed.client, family, family.far(HOME), port).close())


A_PORT_OF_SERVICES = 21000


def test_without_a_local_port_left_new_connections_are_refused(
    bed: Testbed, tmp_path: Path
) -> None:
    """The machine has eight ports to connect from, and those of the client are not to be kept."""
    before = bed.router.run("sysctl", "-n", "net.ipv4.ip_local_port_range").stdout.split()
    bed.router.run("sysctl", "-qw", "net.ipv4.ip_local_port_range=40000 40007")
    try:
        with (
            running(bed.router, tmp_path, RULES) as router,
            sockets.listener(bed.far) as listener,
            contextlib.ExitStack() as stack,
        ):
            port, count, outcome = sockets.port_of(listener), 0, 0
            while not outcome and count < 20:
                client = stack.enter_context(sockets.stream(bed.client, V4))
                client.bind(("", A_PORT_OF_SERVICES + count))
                outcome = _outcome(client, (V4.far(HOME), port))
                count += not outcome
            assert 1 <= count <= 8
            assert outcome == PROHIBITED[4]
            assert router.stop().counters["table-full"] >= 1
    finally:
        bed.router.run("sysctl", "-qw", f"net.ipv4.ip_local_port_range={' '.join(before)}")


@WITH_AND_WITHOUT_OFFLOADS
def test_a_router_that_stops_resets_both_ends(bed: Testbed, tmp_path: Path, offloads: bool) -> None:
    with (
        running(bed.router, tmp_path, RULES, offloads=offloads) as router,
        contextlib.ExitStack() as stack,
    ):
        pairs = [
            stack.enter_context(conversation(bed, family, host))
            for family in FAMILIES
            for host in (HOME, VPN) * 10
        ]
        router.stop()
        for pair in pairs:
            assert result_of(partial(pair.client.recv, 1)) == "ConnectionResetError"
            assert result_of(partial(pair.server.recv, 1)) == "ConnectionResetError"


def test_a_router_that_stops_ends_what_is_read_slowly(
    bed: Testbed, family: Family, tmp_path: Path, offloads: bool
) -> None:
    """A program of this machine that has sent its last byte; the server has sent its own, and both
    of the router's sockets are closed."""

    def socket_inside(*conditions: str) -> str:
        address = f"( src = [{family.tun}] and dst = [{family.tun_peer}] )"
        return bed.router.run("ss", "-Htno", *conditions, address).stdout

    text = RULES.replace("{type: direct,", "{type: direct, path: relay,")
    with (
        running(bed.router, tmp_path, text, offloads=offloads) as router,
        conversation(bed, family, HOME, bed.router) as pair,
    ):
        pair.client.shutdown(socket.SHUT_WR)
        assert pair.server.recv(1) == b""

        def is_held_up() -> bool:
            pair.server.sendall(bytes(10_000))
            return "timer:(persist" in socket_inside()

        wait_until(is_held_up, "the program's buffer to be full")
        pair.server.close()
        wait_until(lambda: socket_inside("state", "last-ack"), "the relay to end")
        router.stop()
        received = partial(pair.client.recv, 1 << 20)
        wait_until(lambda: result_of(received) == "ConnectionResetError", "a reset")


def test_a_lost_outbound_resets_its_connections(
    bed: Testbed, family: Family, tmp_path: Path, offloads: bool
) -> None:
    with running(bed.router, tmp_path, RULES, offloads=offloads):
        with conversation(bed, family, VPN) as pair, conversation(bed, family, HOME) as other:
            bed.close_tunnel()
            try:
                assert result_of(lambda: pair.client.recv(1)) == "ConnectionResetError"
                assert _new_by_vpn(bed, family) == "ConnectionRefusedError"
                other.client.sendall(b"not disturbed")
                assert other.server.recv(100) == b"not disturbed"
            finally:
                bed.open_tunnel()
        wait_until(lambda: _new_by_vpn(bed, family) == "success", "the policy to come up again")


def _new_by_vpn(bed: Testbed, family: Family) -> str:
    """The result of a new connection by the VPN."""
    with sockets.listener(bed.far) as listener:
        port = sockets.port_of(listener)
        return result_of(
            lambda: sockets.connected(bed.client, family, family.far(VPN), port).close()
        )


@WITH_AND_WITHOUT_OFFLOADS
def test_a_rule_for_a_port_decides_once_a_connection(
    bed: Testbed, tmp_path: Path, offloads: bool
) -> None:
    with sockets.listener(bed.far) as one, sockets.listener(bed.far) as two:
        first, second = sockets.port_of(one), sockets.port_of(two)
        text = rules(f"{V4.far(HOME)} -> home").replace(
            "rules:\n",
            f"rules:\n  - {{cidr: {V4.far(HOME)}, protocol: tcp, port: {first}, policy: office}}\n",
        )
        with running(bed.router, tmp_path, text, offloads=offloads):
            for listener, port, source in ((one, first, V4.wg0), (two, second, V4.eth0)):
                client = sockets.connected(bed.client, V4, V4.far(HOME), port)
                server, peer = listener.accept()
                assert peer[0].removeprefix("::ffff:") == source
                client.close()
                server.close()
