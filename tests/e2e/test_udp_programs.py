"""Real programs over UDP: iperf3 in both directions, and servers on the router's own machine."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.netns import Namespace
from tests.e2e.testbed import FAMILIES, Family, Testbed
from tests.e2e.tunrouter import TUN, Tunrouter
from tests.e2e.udp import (
    BARE,
    BARE_OFFICE,
    ELSEWHERE,
    HOME,
    OFFICE,
    RULES,
    SERVER,
    exchange,
)

pytestmark = [
    pytest.mark.rules(RULES),
    pytest.mark.usefixtures("udp_servers"),
]

IPERF_PORT = 5301
RATE = "1M"
"""What arrives in a second of standstill has room in a socket."""
SECONDS = "1"
FEW = 50
"""Packets of 1,200 bytes: half of those that are sent in the time."""


@pytest.fixture(scope="module")
def own_addresses(bed: Testbed) -> Iterator[None]:
    """iperf3 answers UDP by the address of an interface: the far hosts of the tests get one."""
    addresses = [
        f"{family.far(host)}/{family.host_bits} dev lo"
        for family in FAMILIES
        for host in (HOME, OFFICE, BARE, BARE_OFFICE)
    ]
    bed.far.ip(*(f"addr add {address}" for address in addresses))
    yield
    bed.far.ip(*(f"addr del {address}" for address in addresses))


def iperf3(bed: Testbed, sender: Namespace, address: str, *options: str) -> dict[str, Any]:
    """The sums of iperf3; its server runs for this one test, at the same address."""
    server = bed.far.start(
        *("iperf3", "-s", "-1", "-B", address, "-p", str(IPERF_PORT), "--forceflush")
    )
    try:
        server.wait_for_output("Server listening")
        command = ("iperf3", "-J", "-u", "-c", address, "-p", str(IPERF_PORT), "-b", RATE)
        done = sender.run(*command, "-t", SECONDS, "-l", "1200", *options)
        found: dict[str, Any] = json.loads(done.stdout)["end"]["sum"]
        return found
    finally:
        server.close()


@pytest.mark.parametrize("options", [(), ("--reverse",)], ids=["up", "down"])
@pytest.mark.parametrize(
    ("host", "through", "bare"),
    [("client", HOME, BARE), ("router", OFFICE, BARE_OFFICE)],
    ids=["client-direct", "router-vpn"],
)
def test_iperf3_loses_nothing(
    bed: Testbed,
    sender: Namespace,
    own_addresses: None,
    family: Family,
    through: int,
    bare: int,
    options: tuple[str, ...],
) -> None:
    kernel = iperf3(bed, sender, family.far(bare), *options)
    ours = iperf3(bed, sender, family.far(through), *options)
    assert (ours["lost_packets"], kernel["lost_packets"]) == (0, 0)
    assert ours["packets"] > FEW
    assert kernel["packets"] > FEW


def test_a_local_server_answers_from_the_address_and_port_that_were_addressed(
    bed: Testbed, router: Tunrouter, family: Family, own_addresses: None
) -> None:
    """Its answers are routed into the TUN, and there is nothing to translate about them."""
    ports = ("7007", "7053", "7008")
    server = bed.router.start(sys.executable, SERVER, *ports)
    try:
        server.wait_for_output("listening")
        before = bed.router.counter(TUN, "tx_packets")
        for source in (BARE, HOME):
            found = exchange(
                bed.far, family.eth0, 7007, sends=[0, 10, 1400], source=family.far(source)
            ).found
            assert [one["length"] for one in found] == [0, 10, 1400]
            assert {tuple(one["sender"]) for one in found} == {(family.eth0, 7007)}
        assert bed.router.counter(TUN, "tx_packets") >= before + 3, "not by the TUN at all"
    finally:
        server.close()


def test_no_outside_host_begins_a_flow(
    bed: Testbed, router: Tunrouter, family: Family, own_addresses: None
) -> None:
    """RFC 4787 REQ-8: a mapping accepts packets of the hosts that it has sent to alone."""
    port = 7301 if family.version == 4 else 7303
    (answered,) = exchange(bed.client, family.far(HOME), source_port=port).found
    assert answered["length"] == 5
    for source in (BARE, OFFICE):
        assert exchange(
            bed.far, family.eth0, port, source=family.far(source), patience=0.3
        ).found == ["silence"]
    (again,) = exchange(
        bed.client, family.far(HOME), ELSEWHERE, connect=False, source_port=port
    ).found
    assert again["length"] == 5
