"""An urgent byte stays one, and where it is, as it does on the bare path."""

from __future__ import annotations

import socket
from functools import partial

import pytest

from tests.e2e.tcp_bed import BARE, HOME, VPN, conversation
from tests.e2e.testbed import Family, Testbed
from tests.e2e.wait import wait_until

pytestmark = pytest.mark.usefixtures("router")

AT_ONCE = 30


@pytest.mark.parametrize("host", [HOME, VPN, BARE], ids=["home", "vpn", "bare"])
@pytest.mark.parametrize("side", ["client", "server"])
def test_an_urgent_byte(bed: Testbed, family: Family, host: int, side: str) -> None:
    with conversation(bed, family, host) as pair:
        speaker, hearer = (
            (pair.client, pair.server) if side == "client" else (pair.server, pair.client)
        )
        for _ in range(3):
            speaker.sendall(b"before")
            speaker.send(b"!", socket.MSG_OOB)
            speaker.sendall(b"after")
            assert wait_until(partial(_urgent, hearer), "an urgent byte") == b"!"
            assert hearer.recv(100) == b"before", "the mark is behind it"
            assert hearer.recv(5) == b"after"


@pytest.mark.parametrize("host", [HOME, VPN, BARE], ids=["home", "vpn", "bare"])
def test_an_urgent_byte_that_comes_before_the_relay_does(
    bed: Testbed, family: Family, host: int
) -> None:
    """A server that speaks at once is heard while the router still has to accept the other half."""
    for _ in range(AT_ONCE):
        with conversation(bed, family, host) as pair:
            pair.server.sendall(b"before")
            pair.server.send(b"!", socket.MSG_OOB)
            pair.server.sendall(b"after")
            assert wait_until(partial(_urgent, pair.client), "an urgent byte") == b"!"


def _urgent(sock: socket.socket) -> bytes:
    """None as long as none has arrived."""
    try:
        return sock.recv(1, socket.MSG_OOB)
    except OSError:
        return b""
