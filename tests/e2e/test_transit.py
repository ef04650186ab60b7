"""A server behind the router's machine that a captured host reaches by the machine's own routes.

Its requests never enter the TUN, and the answers do, as the route towards the captured host is the
TUN's. Nothing is translated, with a router or without: `gw` has a route to the LAN.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e import ping, sockets
from tests.e2e.marks import WITH_AND_WITHOUT_OFFLOADS
from tests.e2e.tcp_bed import HOME, RULES, alongside, result_of
from tests.e2e.testbed import Family, Testbed
from tests.e2e.tunrouter import TUN, Tunrouter
from tests.e2e.wait import BOUND_S

pytestmark = [WITH_AND_WITHOUT_OFFLOADS, pytest.mark.rules(RULES)]
MUCH = 2 << 20
FAR_PORT = 40123


@contextmanager
def _to_the_client(bed: Testbed, family: Family) -> Iterator[tuple[socket.socket, socket.socket]]:
    """(Far host, server): a captured host connects to a server of the LAN."""
    with sockets.listener(bed.client) as listener:
        far = sockets.stream(bed.far, family)
        sockets.bind_foreign(far, family, family.far(HOME))
        far.connect((family.client, sockets.port_of(listener)))
        server, peer = listener.accept()
        assert peer[0].removeprefix("::ffff:") == family.far(HOME)
        server.settimeout(BOUND_S)
        with far, server:
            yield far, server


def test_a_server_of_the_lan_answers(bed: Testbed, family: Family, router: Tunrouter) -> None:
    before = bed.router.counter(TUN, "tx_packets")
    with _to_the_client(bed, family) as (far, server):
        far.sendall(b"question")
        assert server.recv(100) == b"question"
        with alongside(lambda: server.sendall(bytes(MUCH))):
            sockets.read(far, MUCH)
        far.shutdown(socket.SHUT_WR)
        assert server.recv(1) == b""
        server.close()
        assert far.recv(1) == b""
    assert bed.router.counter(TUN, "tx_packets") > before, "not by the TUN at all"


def test_a_closed_port_of_the_lan_is_refused(
    bed: Testbed, family: Family, router: Tunrouter
) -> None:
    with sockets.stream(bed.far, family) as far:
        sockets.bind_foreign(far, family, family.far(HOME))
        refused = result_of(lambda: sockets.connect(far, (family.client, FAR_PORT)))
        assert refused == "ConnectionRefusedError"


def test_a_host_of_the_lan_answers_pings(bed: Testbed, family: Family, router: Tunrouter) -> None:
    """With the hop limit that it has without a router."""
    bed.far.ip(f"addr add {family.far(HOME)}/{family.host_bits} dev lo")
    try:
        found = ping.answered(bed.far, family.client, "-I", family.far(HOME))
        bare = ping.answered(bed.far, family.client)
        assert found.received == bare.received == 3
        assert _ttl(found.text) == _ttl(bare.text)
    finally:
        bed.far.ip(f"addr del {family.far(HOME)}/{family.host_bits} dev lo")


def _ttl(text: str) -> set[str]:
    return {word for word in text.split() if word.startswith("ttl=")}


def test_a_closed_udp_port_of_the_lan_is_reported(
    bed: Testbed, family: Family, router: Tunrouter
) -> None:
    with sockets.datagram(bed.far, family) as far:
        sockets.bind_foreign(far, family, family.far(HOME))
        far.connect((family.client, FAR_PORT))
        far.send(b"question")
        with pytest.raises(ConnectionRefusedError):
            far.recv(100)
