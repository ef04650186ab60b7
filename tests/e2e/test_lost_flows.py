"""Flows of a lost outbound are ended, and the application gets an error; all others are untouched.

Of an outbound that is gone: a connection is reset; `on_down` decides about the next SYN of one that
is still dialling, and about the next datagram. An outbound that merely changes keeps its flows, as
long as they can be answered.
"""

from __future__ import annotations

import errno
import hashlib
import socket
from collections.abc import Iterator

import pytest

from tests.e2e import ping, sockets
from tests.e2e.capture import Capture
from tests.e2e.status import state_of
from tests.e2e.tcp_bed import alongside, conversation
from tests.e2e.testbed import FAMILIES, V4, V6, Family, Testbed
from tests.e2e.tunrouter import HEAD, Tunrouter, rules, running
from tests.e2e.udp import BARE_OFFICE, ECHO, echoing, sixteen, udp_sockets
from tests.e2e.wait import wait_until

HOME, VPN, BACKED_UP, QUIET, MOVING = 1, 2, 3, 4, 5
POLICIES = """\
  backed-up: {type: vpn, interface: wg0, on_down: home}
  quiet: {type: vpn, interface: wg0, on_down: drop}
  moving: {type: direct, interface: default}
"""
RULES = rules(
    *(
        f"{family.far(host)} -> {policy}"
        for family in FAMILIES
        for host, policy in (
            (HOME, "home"),
            (VPN, "office"),
            (BACKED_UP, "backed-up"),
            (QUIET, "quiet"),
            (MOVING, "moving"),
        )
    ),
    head=HEAD + POLICIES,
)
BY_TUNNEL = ("office", "backed-up", "quiet")
FILTERED = 4243
SILENCE = f"""
table inet lost {{
    chain forward {{
        type filter hook forward priority 0
        tcp dport {FILTERED} drop
    }}
}}
"""
PROHIBITED = {4: errno.EHOSTUNREACH, 6: errno.EACCES}
"""What Linux makes of "administratively prohibited"."""
SIZE = 8 << 20
OTHER_ADDRESS = {4: ("10.8.0.3", 24), 6: ("fd08::3", 64)}


@pytest.fixture(scope="module", autouse=True)
def _far(bed: Testbed, udp_servers: None) -> Iterator[None]:
    bed.vpn.run("nft", "-f", "-", stdin=SILENCE)
    yield
    bed.vpn.run("nft", "delete", "table", "inet", "lost")


@pytest.fixture(scope="module")
def started(bed: Testbed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tunrouter]:
    with running(bed.router, tmp_path_factory.mktemp("rules"), RULES) as router:
        yield router
    _restore_tunnel(bed)


def _restore_tunnel(bed: Testbed) -> None:
    if not bed.router.has_interface("wg0"):
        bed.open_tunnel()
    bed.router.ip(*(f"route replace {sixteen(each, BARE_OFFICE)} dev wg0" for each in FAMILIES))


@pytest.fixture
def router(bed: Testbed, started: Tunrouter) -> Tunrouter:
    """With all that it had at its start, whatever the test before has lost."""
    if not bed.router.has_interface("wg0"):
        _wait_until_tunnel_is(bed, "down")
        last = f"policy {BY_TUNNEL[-1]}: up by wg0 from {V4.wg0}, {V6.wg0}"
        before = started.log.count(last)
        bed.open_tunnel()
        wait_until(lambda: started.log.count(last) > before, "the tunnel to be used")
    _restore_tunnel(bed)
    started.wait_until_up("moving", V4.eth0, V6.eth0)
    return started


def _lose_the_tunnel(bed: Testbed) -> None:
    bed.close_tunnel()
    _wait_until_tunnel_is(bed, "down")


def _wait_until_tunnel_is(bed: Testbed, state: str) -> None:
    """By the status: the log does not repeat what has been repeated."""

    def has_state() -> bool:
        return {state_of(bed.router, policy) for policy in BY_TUNNEL} == {state}

    wait_until(has_state, f"policies by the tunnel to be {state}")


def test_an_interface_that_changes_keeps_its_flows(
    bed: Testbed, family: Family, router: Tunrouter
) -> None:
    """Another MTU, one more address: not one answer of a ping is lost, and a socket keeps
    its outside port."""
    own = "192.0.2.77/24" if family.version == 4 else "2001:db8:2::77/64"
    address = family.far(HOME)
    with echoing(bed, family, HOME), Capture(bed.router, f"udp port {ECHO}"):
        held = udp_sockets(bed, family)
        pings = ping.start(bed.client, address, "-i", "0.01")
        ups = router.log.count("policy home: up")
        bed.router.ip("link set eth0 mtu 1400", f"addr add {own} dev eth0")
        try:
            wait_until(lambda: router.log.count("policy home: up") > ups, "it to be noticed")
            ping.wait_for_the_rest(pings)
            assert udp_sockets(bed, family) == held
        finally:
            pings.close()
            bed.router.ip("link set eth0 mtu 1500", f"addr del {own} dev eth0")


def test_a_connection_by_a_lost_outbound_is_reset(
    bed: Testbed, family: Family, router: Tunrouter
) -> None:
    with conversation(bed, family, VPN) as pair:
        pair.client.sendall(b"question")
        assert pair.server.recv(100) == b"question"
        bed.close_tunnel()
        with pytest.raises(ConnectionResetError):
            pair.client.recv(1)


def test_a_connection_that_is_being_dialled_is_refused(
    bed: Testbed, family: Family, router: Tunrouter
) -> None:
    """By the next SYN of the application, about a second after the one that was lost."""
    with sockets.stream(bed.client, family) as sock:
        outcomes: list[int] = []

        def connect() -> None:
            outcomes.append(sock.connect_ex((family.far(VPN), FILTERED)))

        with alongside(connect):
            dialling = "state", "syn-sent", f"( dport = :{FILTERED} )"
            wait_until(lambda: bed.router.run("ss", "-Htn", *dialling).stdout, "it to be dialled")
            bed.close_tunnel()
        assert outcomes == [errno.ECONNREFUSED]


def test_the_next_datagram_is_refused(bed: Testbed, family: Family, router: Tunrouter) -> None:
    with echoing(bed, family, VPN) as sock:
        _lose_the_tunnel(bed)
        sock.send(b"after")
        with pytest.raises(OSError) as refused:
            sock.recv(100)
        assert refused.value.errno == PROHIBITED[family.version]


def test_a_running_ping_gets_errors_and_then_answers_again(
    bed: Testbed, family: Family, router: Tunrouter
) -> None:
    """One process with one identifier, from before the VPN is gone until after it is back."""
    pings = ping.start(bed.client, family.far(VPN), "-i", "0.05")

    def answers() -> int:
        return len(ping.REPLY.findall(pings.stdout))

    def errors() -> int:
        return len(ping.PROHIBITED.findall(pings.stdout + pings.stderr))

    try:
        wait_until(lambda: answers() > 3, "answers", detail=pings.report)
        assert errors() == 0
        _lose_the_tunnel(bed)
        wait_until(lambda: errors() > 3, "errors", detail=pings.report)
        before = answers()
        bed.open_tunnel()
        wait_until(lambda: answers() > before + 3, "answers again", detail=pings.report)
        refused = errors()
        wait_until(lambda: answers() > before + 6, "more answers", detail=pings.report)
        assert errors() == refused, "no further errors"
    finally:
        pings.close()


def test_the_next_datagram_goes_where_on_down_sends_it(
    bed: Testbed, family: Family, router: Tunrouter
) -> None:
    address = f"{family.far(BACKED_UP)}.{ECHO}"
    with (
        echoing(bed, family, BACKED_UP) as backed_up,
        echoing(bed, family, QUIET) as quiet,
        Capture(bed.far, f"udp dst port {ECHO}") as far,
    ):
        _lose_the_tunnel(bed)
        quiet.send(b"after")
        backed_up.send(b"after")
        assert backed_up.recv(100) == b"after"
        arrived = [seen for seen in far.packets() if seen.direction == "In"]
        assert [(seen.interface, seen.destination) for seen in arrived] == [("home0", address)]
        assert arrived[0].source.startswith(family.eth0)
        quiet.setblocking(False)
        with pytest.raises(BlockingIOError):
            quiet.recv(100)


def test_flows_by_other_outbounds_lose_nothing(
    bed: Testbed, family: Family, router: Tunrouter
) -> None:
    """A transfer, an exchange of datagrams and a ping by the home network, while the VPN goes and
    returns: every byte and every answer arrives."""
    data = hashlib.shake_256(b"transfer").digest(SIZE)
    pings = ping.start(bed.client, family.far(HOME), "-i", "0.01")
    with conversation(bed, family, HOME) as pair, echoing(bed, family, HOME) as sock:
        received = bytearray()

        def receive() -> None:
            while piece := pair.server.recv(1 << 16):
                received.extend(piece)

        with alongside(receive):
            pair.client.sendall(data[: SIZE // 2])
            _lose_the_tunnel(bed)
            pair.client.sendall(data[SIZE // 2 : -1])
            bed.open_tunnel()
            _wait_until_tunnel_is(bed, "up")
            pair.client.sendall(data[-1:])
            pair.client.shutdown(socket.SHUT_WR)
        assert received == data
        sock.send(b"after")
        assert sock.recv(100) == b"after"
    ping.wait_for_the_rest(pings)
    pings.close()


def test_connections_outlive_a_default_route_that_moves(
    bed: Testbed, family: Family, router: Tunrouter
) -> None:
    """Bound to an interface that is still there, they go on by it."""
    default = ("ip", f"-{family.version}", "route")
    better = ("default", "dev", "wg0", "metric", "1")
    bed.router.ip(f"route add {V4.vpn_outside} via {V4.gateway}")  # for WireGuard itself
    try:
        with conversation(bed, family, MOVING) as pair:
            if family.version == 4:
                bed.router.run(*default, "replace", "default", "via", family.gateway, "metric", "9")
                bed.router.run(*default, "del", "default", "metric", "0")
            bed.router.run(*default, "add", *better)
            moved = (each.wg0 if each is family else each.eth0 for each in FAMILIES)
            router.wait_until_up("moving", *moved)
            pair.client.sendall(b"question")
            assert pair.server.recv(100) == b"question"
            pair.server.sendall(b"answer")
            assert pair.client.recv(100) == b"answer"
    finally:
        bed.router.run(*default, "del", *better)
        bed.router.ip(f"route del {V4.vpn_outside}")
        if family.version == 4:
            bed.router.run(*default, "replace", "default", "via", family.gateway)
            bed.router.run(*default, "del", "default", "metric", "9")


def test_a_connection_from_an_address_that_is_gone_is_reset(
    bed: Testbed, family: Family, router: Tunrouter
) -> None:
    new, length = OTHER_ADDRESS[family.version]
    with conversation(bed, family, VPN) as pair:
        bed.router.ip(f"addr del {family.wg0}/{length} dev wg0", f"addr add {new}/{length} dev wg0")
        try:
            with pytest.raises(ConnectionResetError):
                pair.client.recv(1)
        finally:
            bed.close_tunnel()


def test_a_connection_that_is_being_dialled_from_an_address_that_is_gone_is_dialled_again(
    bed: Testbed, family: Family, router: Tunrouter
) -> None:
    """From another address of the outbound, when the application repeats its SYN."""
    new, length = OTHER_ADDRESS[family.version]

    def is_dialled_from(address: str) -> bool:
        dialling = "state", "syn-sent", f"( dport = :{FILTERED} and src = [{address}] )"
        return bool(bed.router.run("ss", "-Htn", *dialling).stdout)

    with sockets.stream(bed.client, family) as sock:

        def connect() -> None:
            assert sock.connect_ex((family.far(VPN), FILTERED)) == errno.ECONNREFUSED

        with alongside(connect):
            wait_until(lambda: is_dialled_from(family.wg0), "it to be dialled")
            old = f"{family.wg0}/{length}"
            bed.router.ip(f"addr del {old} dev wg0", f"addr add {new}/{length} dev wg0")
            try:
                wait_until(lambda: is_dialled_from(new), "it to be dialled again")
            finally:
                bed.close_tunnel()
