"""UDP as applications see it: servers at the far hosts, clients, and their addresses.

The far hosts of one test, by how they are reached from the router's namespace:

    HOME, OFFICE        through tunrouter, by the policy of that name
    BARE, BARE_OFFICE   by the kernel alone: by its default route, by a route to the VPN
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from tests.e2e import sockets
from tests.e2e.netns import Namespace
from tests.e2e.testbed import FAMILIES, Family, Testbed
from tests.e2e.tunrouter import rules

CLIENT = str(Path(__file__).with_name("udp_client.py"))
SERVER = str(Path(__file__).with_name("udp_server.py"))


def sixteen(family: Family, first: int) -> str:
    """The network of sixteen far hosts."""
    return f"{family.far(first)}/{family.host_bits - 4}"


def neighbour(family: Family, host: int) -> str:
    """An address of the home network itself."""
    return f"{family.gateway[:-1]}{host}"


ECHO, DNS, ELSEWHERE, CLOSED, FILTERED, UNREACHABLE = 7, 53, 8, 99, 98, 97

HOME, OFFICE, BARE, BARE_OFFICE = 16, 32, 48, 64
"""The first of sixteen hosts each."""
ABSENT, BARE_ABSENT = 77, 78
"""Neighbours that are not there, the first of them reached through tunrouter."""
RULES = rules(
    *(f"{neighbour(family, ABSENT)} -> home" for family in FAMILIES),
    *(
        f"{sixteen(family, first)} -> {policy}"
        for family in FAMILIES
        for first, policy in ((HOME, "home"), (OFFICE, "office"))
    ),
)

PATHS = pytest.mark.parametrize(
    ("host", "through", "bare"),
    [
        ("client", HOME, BARE),
        ("client", OFFICE, BARE),
        ("router", OFFICE, BARE_OFFICE),
    ],
    ids=["client-direct", "client-vpn", "router-vpn"],
)
"""The namespace that sends, hosts through tunrouter, and the hosts to compare with. No bare path
leads from the client into the VPN: there it is compared with the home network's."""
SAME_OUTBOUND = pytest.mark.parametrize(
    ("host", "through", "bare"),
    [
        ("client", HOME, BARE),
        ("router", OFFICE, BARE_OFFICE),
    ],
    ids=["client-direct", "router-vpn"],
)
"""Those of PATHS whose bare path leaves by the same interface."""

FILTER = """
table inet udp_test {{
    chain refuse {{
        type filter hook {hook} priority 0
        udp dport {port} reject with icmpx {what}
    }}
}}
"""


class Seen(NamedTuple):
    """What a client found: where it sent from, and what came back."""

    sources: list[list[Any]]
    found: list[Any]


def exchange(namespace: Namespace, address: str, port: int = ECHO, **options: object) -> Seen:
    """Runs a client to its end; the options are those of udp_client.py."""
    wanted = json.dumps({"address": address, "port": port, **options})
    return Seen(**json.loads(namespace.run(sys.executable, CLIENT, wanted).stdout))


def echoing(bed: Testbed, family: Family, host: int) -> socket.socket:
    """A socket of the client with a UDP flow: connected to a far host, and answered by it."""
    sock = sockets.datagram(bed.client, family)
    sock.connect((family.far(host), ECHO))
    echo(sock)
    return sock


def echo(sock: socket.socket) -> None:
    """One datagram to the echo server that the socket is connected to, and back."""
    sock.send(b"echo")
    assert sock.recv(100) == b"echo"


def udp_sockets(bed: Testbed, family: Family) -> list[str]:
    """The sockets of the router that are bound to eth0, each with its identity."""
    shown = bed.router.run("ss", f"-{family.version}Hunape").stdout
    return sorted(line for line in shown.splitlines() if "%eth0" in line)


BARE_ROUTES: Final = [f"{sixteen(family, BARE_OFFICE)} dev wg0" for family in FAMILIES]


def add_bare_routes(bed: Testbed) -> None:
    """They go with the VPN's interface."""
    bed.router.ip(*(f"route add {route}" for route in BARE_ROUTES))


@contextmanager
def far_hosts(bed: Testbed) -> Iterator[None]:
    """Servers at every far address; a port that is filtered there, and one that the routers on the
    path report as unreachable; the bare path to BARE_OFFICE."""
    filters = [
        (bed.far, FILTER.format(hook="input", port=FILTERED, what="admin-prohibited")),
        (bed.gw, FILTER.format(hook="forward", port=UNREACHABLE, what="host-unreachable")),
        (bed.vpn, FILTER.format(hook="forward", port=UNREACHABLE, what="host-unreachable")),
    ]
    for namespace, text in filters:
        namespace.run("nft", "-f", "-", stdin=text)
    add_bare_routes(bed)
    server = bed.far.start(sys.executable, SERVER, str(ECHO), str(DNS), str(ELSEWHERE))
    try:
        server.wait_for_output("listening")
        yield
    finally:
        server.close()
        bed.router.ip(*(f"route del {route}" for route in BARE_ROUTES))
        for namespace, _ in filters:
            namespace.run("nft", "delete", "table", "inet", "udp_test")
