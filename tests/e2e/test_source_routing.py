"""The way that the system's routes and rules give to a source address is the way of its packets."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import ping
from tests.e2e.capture import Capture
from tests.e2e.netns import Namespace
from tests.e2e.second_uplink import GATEWAY, LENGTH, OWN, UPLINK, second_uplink
from tests.e2e.testbed import FAMILIES, V4, V6, Family, Testbed
from tests.e2e.tunrouter import HEAD, PROGRAM, rules, running
from tests.e2e.wait import wait_until

HOST = 1
BY_UPLINK = HEAD.replace("wg0}", f"wg0}}\n  second: {{type: direct, interface: {UPLINK}}}")
RULES = rules(*(f"{family.far(HOST)} -> second" for family in FAMILIES), head=BY_UPLINK)

LOOPBACK = {4: "10.255.0.1", 6: "2001:db8:255::1"}

REFUSED = """
import socket, sys
kind = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}[sys.argv[2]]
sock = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, kind)
sock.settimeout(20)
try:
    sock.connect((sys.argv[1], 9))
    sock.send(b"x")
    sock.recv(1)
except OSError as error:
    print(error.errno)
"""


def _errno(namespace: Namespace, address: str, protocol: str) -> str:
    """What the far host's refusal of a connection or a datagram is for a program."""
    return namespace.run(sys.executable, "-c", REFUSED, address, protocol).stdout.strip()


def _everything_arrives(bed: Testbed, address: str, own: str) -> None:
    """Of a LAN host, and of a program on the router's machine, whose packets leave directly."""
    for sender in (bed.client, bed.router):
        with Capture(bed.far) as far:
            assert ping.answered(sender, address).received == 3
            for protocol in ("tcp", "udp"):
                assert _errno(sender, address, protocol) == "111", protocol
            assert far.arrivals(address) == {("home0", own)}


def _explained(bed: Testbed, rules_file: Path, address: str) -> dict[str, Any]:
    done = bed.router.run(PROGRAM, "explain", "-c", str(rules_file), "--json", address)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _link_local(bed: Testbed) -> str:
    shown = bed.router.run("ip", "-j", "-6", "addr", "show", "dev", UPLINK, "scope", "link").stdout
    address: str = json.loads(shown)[0]["addr_info"][0]["local"]
    return address


@contextmanager
def _rule(bed: Testbed, family: Family) -> Iterator[None]:
    version = f"-{family.version}"
    route = f"default via {GATEWAY[family.version]} dev {UPLINK} table 100"
    bed.router.run("ip", version, "rule", "add", "from", OWN[family.version], "lookup", "100")
    try:
        bed.router.run("ip", version, "route", "add", *route.split())
        yield
    finally:
        bed.router.run("ip", version, "rule", "del", "lookup", "100")


@contextmanager
def _from_prefix(bed: Testbed, family: Family) -> Iterator[None]:
    own = f"{OWN[6]}/{LENGTH[6]}"
    bed.router.ip(f"route add default from {own} via {GATEWAY[6]} dev {UPLINK}")
    yield


@pytest.mark.parametrize(
    ("family", "given"),
    [(V4, _rule), (V6, _rule), (V6, _from_prefix)],
    ids=["IPv4 rule", "IPv6 rule", "IPv6 from"],
)
def test_a_way_that_depends_on_the_source(
    bed: Testbed, family: Family, given: object, tmp_path: Path
) -> None:
    assert callable(given)
    own, address = OWN[family.version], family.far(HOST)
    with second_uplink(bed), given(bed, family):
        assert ping.answered(bed.router, address, "-I", own).received == 3
        with running(bed.router, tmp_path, RULES) as router:
            _everything_arrives(bed, address, own)
            explained = _explained(bed, router.rules_file, address)
        assert (explained["interface"], explained["source"]) == (UPLINK, own)
        if given is _rule:
            assert explained["gateway"] == GATEWAY[family.version]


def test_a_rule_that_comes_later(bed: Testbed, tmp_path: Path) -> None:
    with second_uplink(bed), running(bed.router, tmp_path, RULES), _rule(bed, V4):
        address = V4.far(HOST)
        wait_until(
            lambda: ping.unanswered(bed.client, address).received == 3, "the rule to be followed"
        )
        _everything_arrives(bed, address, OWN[4])


def test_an_address_of_the_loopback_interface(bed: Testbed, family: Family, tmp_path: Path) -> None:
    """The way out has none of its own; its route names that one as the source."""
    version = family.version
    own, address = LOOPBACK[version], family.far(HOST)
    with second_uplink(bed, addresses=False):
        gateway = GATEWAY[version]
        bed.router.ip(f"addr add {own}/{family.host_bits} dev lo")
        # The router answers for it by ARP; neighbour discovery is for the link's own addresses.
        via = "" if version == 4 else f"via {_link_local(bed)} "
        bed.gw.ip(f"route add {own} {via}dev home1")
        try:
            bed.router.run(
                *("ip", f"-{version}", "route", "add", "default", "via", gateway),
                *("dev", UPLINK, "onlink", "src", own, "metric", "5000"),
            )
            assert ping.answered(bed.router, address, "-I", UPLINK).received == 3
            with running(bed.router, tmp_path, RULES) as router:
                assert f"policy second: up by {UPLINK} from {own}" in router.log
                _everything_arrives(bed, address, own)
        finally:
            bed.router.ip(f"addr del {own}/{family.host_bits} dev lo")
