"""An urgent byte stays one, and where it is, as it does on the bare path."""

from __future__ import annotations

import socket
from functools import partial

import pytest

from tests.e2e.tcp_bed import BARE, HOME, RULES, VPN, conversation
from tests.e2e.testbed import Family, Testbed
from tests.e2e.wait import wait_until

pytestmark = [pytest.mark.rules(RULES), pytest.mark.usefixtures("router")]

AT_ONCE = 30


@pytest.mark.parametrize("host", [HOME, VPN, BARE], ids=["home", "vpn", "bare"])
@pytest.mark.parametrize("side", ["client", "server"])
def test_an_urgent_byte(bed: Testbed, family: Family, host: int, side: str) -> None:
    with conversation(bed, family, host) as pair:
        sender, receiver = (
            (pair.client, pair.server) if side == "client" else (pair.server, pair.client)
        )
        for _ in range(3):
            sender.sendall(b"before")
            sender.send(b"!", socket.MSG_OOB)
            sender.sendall(b"after")
            assert wait_until(partial(_urgent, receiver), "an urgent byte") == b"!"
            assert receiver.recv(100) == b"before", "the mark is behind it"
            assert receiver.recv(5) == b"after"


@pytest.mark.parametrize("host", [HOME, VPN, BARE], ids=["home", "vpn", "bare"])
def test_an_urgent_byte_that_comes_before_the_relay_does(
    bed: Testbed, family: Family, host: int
) -> None:
    """A server that sends at once sends before the router has accepted the client's connection."""
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
