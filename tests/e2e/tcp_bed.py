"""What the tests about TCP share: rules and conversations.

Hosts of the far network: HOME by the home network, VPN by the VPN, BARE by no rule, so that the
kernel alone forwards, as if no router were there. What TCP does by the router is
compared with BARE in the same test.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from tests.e2e import sockets
from tests.e2e.netns import Namespace
from tests.e2e.testbed import FAMILIES, Family, Testbed
from tests.e2e.tunrouter import rules
from tests.e2e.wait import BOUND_S

HOME: Final = 1
VPN: Final = 2
BARE: Final = 9
HOSTS: Final = {"home": HOME, "office": VPN}
PATHS: Final = (HOME, VPN, BARE)

RULES: Final = rules(
    *(f"{family.far(host)} -> {policy}" for family in FAMILIES for policy, host in HOSTS.items())
)


@dataclass
class Pair:
    """Both ends of one connection."""

    client: socket.socket
    server: socket.socket

    def close(self) -> None:
        self.client.close()
        self.server.close()


@contextmanager
def conversation(
    bed: Testbed, family: Family, host: int, namespace: Namespace | None = None
) -> Iterator[Pair]:
    """A connection from a client (the LAN host by default) to a far host, by the outbound to be
    tested: the far host sees the address of that outbound, or on the bare path the client's."""
    with sockets.listener(bed.far) as listener:
        port = sockets.port_of(listener)
        client = sockets.connected(namespace or bed.client, family, family.far(host), port)
        server, peer = listener.accept()
        assert host not in PATHS or peer[0].removeprefix("::ffff:") == outside_address(
            bed, family, host, namespace
        )
        server.settimeout(BOUND_S)
        pair = Pair(client, server)
        try:
            yield pair
        finally:
            pair.close()


def outside_address(
    bed: Testbed, family: Family, host: int, namespace: Namespace | None = None
) -> str:
    """What a host of PATHS sees as the address of a client."""
    of_bare_path = family.eth0 if namespace is bed.router else family.client
    return {HOME: family.eth0, VPN: family.wg0, BARE: of_bare_path}[host]


@contextmanager
def alongside(work: Callable[[], None]) -> Iterator[None]:
    """Runs `work` in a thread of its own meanwhile; raises what it raised."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join(2 * BOUND_S)
    assert not thread.is_alive(), "still busy"
    if errors:
        raise errors[0]


def result_of(call: Callable[[], object]) -> str:
    """The name of the error that `call` raises, or "success"."""
    try:
        call()
    except OSError as error:
        return type(error).__name__
    return "success"
