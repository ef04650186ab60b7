"""Errors about what a program sends directly reach it as on the bare path."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e import ping, probes
from tests.e2e.direct.ends import PATHS, SOURCE
from tests.e2e.hops import Hop, hops
from tests.e2e.testbed import Family, Testbed
from tests.e2e.udp import (
    ABSENT,
    BARE_ABSENT,
    CLOSED,
    ECHO,
    FILTERED,
    RULES,
    UNREACHABLE,
    exchange,
    neighbour,
)

pytestmark = [pytest.mark.rules(RULES), pytest.mark.usefixtures("direct")]


def reported(bed: Testbed, family: Family, host: int, port: int, **options: Any) -> list[Any]:
    """The errors about a datagram with their senders, the far host being FAR."""
    found = exchange(bed.router, family.far(host), port, report=True, **options).found
    return [_without_host(one, family.far(host)) for one in found]


def _without_host(found: Any, host: str) -> Any:
    if isinstance(found, dict):
        found = {name: value for name, value in found.items() if name != "destination"}
        if found["offender"] == host:
            found["offender"] = "FAR"
    return found


@pytest.mark.parametrize("port", [CLOSED, FILTERED, UNREACHABLE])
@PATHS
def test_a_datagram_that_is_refused(
    bed: Testbed, family: Family, port: int, through: int, bare: int
) -> None:
    ours, kernels = (
        reported(bed, family, host, port, sends=["00112233"]) for host in (through, bare)
    )
    assert ours == kernels
    assert "error" in ours[0]


@PATHS
def test_a_hop_limit_that_is_used_up(bed: Testbed, family: Family, through: int, bare: int) -> None:
    (first,) = reported(bed, family, through, ECHO, hop_limit=1)
    assert first["offender"] == family.tun_peer
    (kernels,) = reported(bed, family, bare, ECHO, hop_limit=1)
    (ours,) = reported(bed, family, through, ECHO, hop_limit=2)
    assert ours == kernels


@pytest.fixture
def fast_neighbour_failure(bed: Testbed) -> Iterator[None]:
    """Neighbour resolution fails after 0.3 s."""
    for after in (100, 1000):
        bed.router.sysctl(
            ipv4__neigh__eth0__retrans_time_ms=after, ipv6__neigh__eth0__retrans_time_ms=after
        )
        if after == 100:
            yield


def test_a_neighbour_that_is_not_there(
    bed: Testbed, fast_neighbour_failure: None, family: Family
) -> None:
    """The kernel reports it to the program itself."""

    def outcomes(number: int) -> tuple[list[Any], str, list[tuple[str, str]]]:
        address = neighbour(family, number)
        reports = exchange(bed.router, address, ECHO, report=True, sends=[10, 4000]).found
        pinged = ping.answered(bed.router, address, "-W", "20", count=1)
        return (
            [_without_host(one, address) for one in reports],
            probes.tcp(bed.router, address, ECHO),
            re.findall(r"From (\S+) icmp_seq=1 (Destination.*)", pinged.text),
        )

    ours, kernels = (outcomes(number) for number in (ABSENT, BARE_ABSENT))
    assert ours == kernels
    assert ours[0]
    assert ours[1] == "EHOSTUNREACH"
    assert {sender for sender, _ in ours[2]} == {family.eth0}


@PATHS
def test_a_datagram_that_is_too_long(bed: Testbed, family: Family, through: int, bare: int) -> None:
    assert probes.too_long(bed.router, family.far(through), 1473) == probes.too_long(
        bed.router, family.far(bare), 1473
    )


@pytest.mark.parametrize(
    "command",
    [
        ("traceroute", "-n", "-N1", "-q1", "-w20", "-U", "-p", "99"),
        ("traceroute", "-n", "-N1", "-q1", "-w20"),
        ("traceroute", "-n", "-N1", "-q1", "-w20", "-I"),
        ("traceroute", "-n", "-N1", "-q1", "-w20", "-T", "-p", "9"),
        ("mtr", "-n", "-r", "-c1", "-i", "0.2", "-G", "2"),
        ("mtr", "-n", "-r", "-c1", "-i", "0.2", "-G", "2", "-u"),
        ("mtr", "-n", "-r", "-c1", "-i", "0.2", "-G", "2", "-T", "-P", "9"),
    ],
    ids=["-U", "default", "-I", "-T", "mtr", "mtr-u", "mtr-T"],
)
@PATHS
def test_the_hops(
    bed: Testbed, family: Family, command: tuple[str, ...], through: int, bare: int
) -> None:
    *routers, last = hops(bed.router, family.far(bare), *command)
    if last.address == family.far(bare):
        last = last._replace(address=family.far(through))
    first = Hop(family.tun_peer, is_router=True, code=0)
    ours = hops(bed.router, family.far(through), *command, answers_by=SOURCE[through])
    assert ours == [first, *routers, last]
