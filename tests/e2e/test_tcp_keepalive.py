"""Keepalive probes are end to end: who asks whether the other end is still there gets the other
end's answer, or none, as on the bare path, which asks at the same time.

Probes come a second apart at the least, and what they find out takes as many of them; so the two
paths, and the two families, are tried side by side.
"""

from __future__ import annotations

import errno
import select
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

import pytest

from tests.e2e import sockets
from tests.e2e.capture import Capture
from tests.e2e.marks import WITH_AND_WITHOUT_OFFLOADS
from tests.e2e.netns import Namespace
from tests.e2e.tcp_bed import BARE, HOME, VPN, Pair, conversation
from tests.e2e.testbed import FAMILIES, Family, Testbed
from tests.e2e.wait import BOUND_S, wait_until

pytestmark = [WITH_AND_WITHOUT_OFFLOADS, pytest.mark.usefixtures("frequent_probes", "router")]

FEW: Final = 2
MANY: Final = 30
"""Probes without an answer until an end is taken for dead: enough for a machine that stands still
for a while."""
PROBES: Final = 3
"""Probes that are waited for, or, of the router's own, until it gives up."""
Case = tuple[Family, int]


@pytest.fixture(scope="module")
def frequent_probes(bed: Testbed) -> None:
    """The router's system probes once a second and gives up after PROBES; see tcp(7)."""
    bed.router.sysctl(ipv4__tcp_keepalive_intvl=1, ipv4__tcp_keepalive_probes=PROBES)


def test_a_far_end_that_has_fallen_silent_is_found_out(bed: Testbed) -> None:
    with conversations(bed) as pairs, silenced(bed.far, ports_of(pairs)):
        for pair in pairs.values():
            ask(pair.client, FEW)
        assert errors_of(clients_of(pairs)) == dict.fromkeys(pairs, errno.ETIMEDOUT)


def test_so_is_it_by_whoever_has_said_all_and_waits(bed: Testbed) -> None:
    """Half-closed: the probes stand behind the end of what was said."""
    with conversations(bed) as pairs:
        for pair in pairs.values():
            pair.client.sendall(b"a question")
            pair.client.shutdown(socket.SHUT_WR)
            assert sockets.read_to_end(pair.server) == b"a question"
            pair.server.sendall(b"wait")
            assert pair.client.recv(100) == b"wait"
        with silenced(bed.far, ports_of(pairs)):
            for pair in pairs.values():
                ask(pair.client, FEW)
            assert errors_of(clients_of(pairs)) == dict.fromkeys(pairs, errno.ETIMEDOUT)


def test_a_far_end_that_knows_nothing_of_it_any_more_says_so(bed: Testbed) -> None:
    """It was started anew: the reset by which it ended the connection was never heard."""
    with conversations(bed) as pairs:
        with silenced(bed.far, ports_of(pairs)):
            for pair in pairs.values():
                sockets.reset(pair.server)
        for pair in pairs.values():
            ask(pair.client, MANY)
        assert errors_of(clients_of(pairs)) == dict.fromkeys(pairs, errno.ECONNRESET)


def test_a_far_end_that_is_there_answers_every_probe_itself(bed: Testbed) -> None:
    with conversations(bed) as pairs, Capture(bed.far, "tcp") as capture:
        for pair in pairs.values():
            ask(pair.client, MANY)
        wait_until(
            lambda: all(arrived(capture, pair.server) >= PROBES for pair in pairs.values()),
            "the probes of every client",
        )
        still_speak(pairs)


def test_an_application_whose_machine_has_fallen_silent_is_found_out(bed: Testbed) -> None:
    """The far end's probes are answered by the router, which asks in turn as its own system does:
    in the end it resets what has broken on its other side."""
    with conversations(bed) as pairs, silenced(bed.client, ports_of(pairs)):
        for pair in pairs.values():
            ask(pair.server, FEW)
        servers = {case: pair.server for case, pair in pairs.items()}
        assert errors_of(servers) == {
            (family, host): errno.ETIMEDOUT if host == BARE else errno.ECONNRESET
            for family, host in pairs
        }


def test_an_application_that_is_there_is_asked_when_the_far_end_asks(bed: Testbed) -> None:
    with conversations(bed) as pairs, Capture(bed.client, "tcp") as capture:
        for pair in pairs.values():
            ask(pair.server, MANY)
        wait_until(
            lambda: all(arrived(capture, pair.client) > 1 for pair in pairs.values()),
            "more than a late acknowledgement at every client",
        )
        still_speak(pairs)


def arrived(capture: Capture, sock: socket.socket) -> int:
    """How many segments without payload the machine of a socket has had from its other end."""
    address, port, *_ = sock.getpeername()
    sender = f"{address.removeprefix('::ffff:')}.{port}"
    return sum(
        (packet.direction, packet.source) == ("In", sender) and packet.text.endswith("length 0")
        for packet in capture.packets()
    )


def still_speak(pairs: Mapping[Case, Pair]) -> None:
    for pair in pairs.values():
        pair.client.sendall(b"still there?")
        assert pair.server.recv(100) == b"still there?"
        pair.server.sendall(b"yes")
        assert pair.client.recv(100) == b"yes"


def ask(sock: socket.socket, count: int) -> None:
    """Probe as often as the system allows, and give up after `count` without an answer."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, count)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


@contextmanager
def conversations(bed: Testbed) -> Iterator[Mapping[Case, Pair]]:
    """One by every way and family. What its client has said is answered, so that nothing of it has
    to be sent again: while something has, nobody probes."""
    with ExitStack() as stack:
        pairs = {
            (family, host): stack.enter_context(conversation(bed, family, host))
            for family in FAMILIES
            for host in (HOME, VPN, BARE)
        }
        for pair in pairs.values():
            pair.client.sendall(b"hello")
            assert pair.server.recv(100) == b"hello"
            pair.server.sendall(b"hello yourself")
            assert pair.client.recv(100) == b"hello yourself"
        yield pairs


def clients_of(pairs: Mapping[Case, Pair]) -> Mapping[Case, socket.socket]:
    return {case: pair.client for case, pair in pairs.items()}


def ports_of(pairs: Mapping[Case, Pair]) -> Sequence[int]:
    return [sockets.port_of(pair.server) for pair in pairs.values()]


SILENCE: Final = """
table inet silence {{
  set ports {{ type inet_service; elements = {{ {ports} }}; }}
  chain both {{ tcp dport @ports drop; tcp sport @ports drop; }}
  chain heard {{ type filter hook input priority 0; jump both; }}
  chain said {{ type filter hook output priority 0; jump both; }}
}}
"""


@contextmanager
def silenced(namespace: Namespace, ports: Sequence[int]) -> Iterator[None]:
    """The machine neither hears nor says anything from or to some ports."""
    listed = ", ".join(map(str, ports))
    namespace.run("nft", "-f", "-", stdin=SILENCE.format(ports=listed))
    try:
        yield
    finally:
        namespace.run("nft", "delete", "table", "inet", "silence")


def errors_of(asking: Mapping[Case, socket.socket]) -> Mapping[Case, int]:
    """What each socket is told; 0: nothing for BOUND_S seconds."""
    poll = select.poll()
    waiting = {sock.fileno(): case for case, sock in asking.items()}
    for descriptor in waiting:
        poll.register(descriptor, select.POLLERR)
    told = dict.fromkeys(asking, 0)
    while waiting and (ready := poll.poll(BOUND_S * 1000)):
        for descriptor, _ in ready:
            poll.unregister(descriptor)
            case = waiting.pop(descriptor)
            told[case] = asking[case].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    return told
