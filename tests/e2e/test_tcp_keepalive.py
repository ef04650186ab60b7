"""Keepalive probes are end to end: an end that probes gets the other end's answer, or none, as on
the bare path, which is probed at the same time.

Probes are at least a second apart, and a result takes several; so the paths and the two families
are tested side by side.
"""

from __future__ import annotations

import errno
import select
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

import pytest

from router.platform.linux.only_on_linux import TCP_KEEPIDLE
from tests.e2e import sockets
from tests.e2e.capture import Capture
from tests.e2e.netns import Namespace
from tests.e2e.tcp_bed import BARE, HOME, RULES, VPN, Pair, conversation
from tests.e2e.testbed import FAMILIES, Family, Testbed
from tests.e2e.wait import BOUND_S, wait_until

pytestmark = [
    pytest.mark.rules(RULES),
    pytest.mark.usefixtures("frequent_probes", "router"),
]

FEW: Final = 2
MANY: Final = 30
"""Probes without an answer until an end is taken for dead: enough for a machine that stalls
for a time."""
PROBES: Final = 3
"""Probes that are waited for, or, of the router's own, until it gives up."""
Case = tuple[Family, int]


@pytest.fixture(scope="module")
def frequent_probes(bed: Testbed) -> None:
    """The router's system probes once a second and gives up after PROBES; see tcp(7)."""
    bed.router.sysctl(ipv4__tcp_keepalive_intvl=1, ipv4__tcp_keepalive_probes=PROBES)


def test_a_silent_far_end_is_detected(bed: Testbed) -> None:
    with conversations(bed) as pairs, silenced(bed.far, ports_of(pairs)):
        for pair in pairs.values():
            start_keepalive(pair.client, FEW)
        assert errors_of(clients_of(pairs)) == dict.fromkeys(pairs, errno.ETIMEDOUT)


def test_a_silent_far_end_is_detected_after_a_half_close(bed: Testbed) -> None:
    """The sequence number of the probes is behind the FIN."""
    with conversations(bed) as pairs:
        for pair in pairs.values():
            pair.client.sendall(b"a question")
            pair.client.shutdown(socket.SHUT_WR)
            assert sockets.read_to_end(pair.server) == b"a question"
            pair.server.sendall(b"wait")
            assert pair.client.recv(100) == b"wait"
        with silenced(bed.far, ports_of(pairs)):
            for pair in pairs.values():
                start_keepalive(pair.client, FEW)
            assert errors_of(clients_of(pairs)) == dict.fromkeys(pairs, errno.ETIMEDOUT)


def test_a_far_end_without_the_connection_resets_it(bed: Testbed) -> None:
    """As after its restart: the reset by which it ended the connection is lost."""
    with conversations(bed) as pairs:
        with silenced(bed.far, ports_of(pairs)):
            for pair in pairs.values():
                sockets.reset(pair.server)
        for pair in pairs.values():
            start_keepalive(pair.client, MANY)
        assert errors_of(clients_of(pairs)) == dict.fromkeys(pairs, errno.ECONNRESET)


def test_a_live_far_end_answers_every_probe_itself(bed: Testbed) -> None:
    with conversations(bed) as pairs, Capture(bed.far, "tcp") as capture:
        for pair in pairs.values():
            start_keepalive(pair.client, MANY)
        wait_until(
            lambda: all(arrived(capture, pair.server) >= PROBES for pair in pairs.values()),
            "the probes of every client",
        )
        expect_data(pairs)


def test_a_silent_client_is_detected(bed: Testbed) -> None:
    """The far end's probes are answered by the router, which then probes the client at the
    rate of its own system, and at last resets the connection to the far end."""
    with conversations(bed) as pairs, silenced(bed.client, ports_of(pairs)):
        for pair in pairs.values():
            start_keepalive(pair.server, FEW)
        servers = {case: pair.server for case, pair in pairs.items()}
        assert errors_of(servers) == {
            (family, host): errno.ETIMEDOUT if host == BARE else errno.ECONNRESET
            for family, host in pairs
        }


def test_a_live_client_is_probed_when_the_far_end_probes(bed: Testbed) -> None:
    with conversations(bed) as pairs, Capture(bed.client, "tcp") as capture:
        for pair in pairs.values():
            start_keepalive(pair.server, MANY)
        wait_until(
            lambda: all(arrived(capture, pair.client) > 1 for pair in pairs.values()),
            "more than a late acknowledgement at every client",
        )
        expect_data(pairs)


def arrived(capture: Capture, sock: socket.socket) -> int:
    """How many segments without payload the host of a socket has received from its other end."""
    address, port, *_ = sock.getpeername()
    sender = f"{address.removeprefix('::ffff:')}.{port}"
    return sum(
        (packet.direction, packet.source) == ("In", sender) and packet.text.endswith("length 0")
        for packet in capture.packets()
    )


def expect_data(pairs: Mapping[Case, Pair]) -> None:
    for pair in pairs.values():
        pair.client.sendall(b"still there?")
        assert pair.server.recv(100) == b"still there?"
        pair.server.sendall(b"yes")
        assert pair.client.recv(100) == b"yes"


def start_keepalive(sock: socket.socket, count: int) -> None:
    """Probes as often as the system allows, and gives up after `count` without an answer."""
    sock.setsockopt(socket.IPPROTO_TCP, TCP_KEEPIDLE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, count)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


@contextmanager
def conversations(bed: Testbed) -> Iterator[Mapping[Case, Pair]]:
    """One by every outbound and family. The client's data is acknowledged, because no end probes
    while it retransmits."""
    with ExitStack() as stack:
        pairs = {
            (family, host): stack.enter_context(conversation(bed, family, host))
            for family in FAMILIES
            for host in (HOME, VPN, BARE)
        }
        for pair in pairs.values():
            pair.client.sendall(b"hello")
            assert pair.server.recv(100) == b"hello"
            pair.server.sendall(b"hello back")
            assert pair.client.recv(100) == b"hello back"
        yield pairs


def clients_of(pairs: Mapping[Case, Pair]) -> Mapping[Case, socket.socket]:
    return {case: pair.client for case, pair in pairs.items()}


def ports_of(pairs: Mapping[Case, Pair]) -> Sequence[int]:
    return [sockets.port_of(pair.server) for pair in pairs.values()]


SILENCE: Final = """
table inet silence {{
  set ports {{ type inet_service; elements = {{ {ports} }}; }}
  chain both {{ tcp dport @ports drop; tcp sport @ports drop; }}
  chain incoming {{ type filter hook input priority 0; jump both; }}
  chain outgoing {{ type filter hook output priority 0; jump both; }}
}}
"""


@contextmanager
def silenced(namespace: Namespace, ports: Sequence[int]) -> Iterator[None]:
    """Drops all TCP segments from and to some ports, incoming and outgoing."""
    listed = ", ".join(map(str, ports))
    namespace.run("nft", "-f", "-", stdin=SILENCE.format(ports=listed))
    try:
        yield
    finally:
        namespace.run("nft", "delete", "table", "inet", "silence")


def errors_of(sockets_by_case: Mapping[Case, socket.socket]) -> Mapping[Case, int]:
    """The error that each socket gets; 0: none for BOUND_S seconds."""
    poll = select.poll()
    waiting = {sock.fileno(): case for case, sock in sockets_by_case.items()}
    for descriptor in waiting:
        poll.register(descriptor, select.POLLERR)
    errors = dict.fromkeys(sockets_by_case, 0)
    while waiting and (ready := poll.poll(BOUND_S * 1000)):
        for descriptor, _ in ready:
            poll.unregister(descriptor)
            case = waiting.pop(descriptor)
            errors[case] = sockets_by_case[case].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    return errors
