"""Errors about a datagram are those of the bare kernel: same error, same sender."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from tests.e2e.netns import Namespace
from tests.e2e.status import read_status
from tests.e2e.testbed import FAMILIES, Family, Testbed
from tests.e2e.tunrouter import Tunrouter, relayed
from tests.e2e.udp import (
    ABSENT,
    BARE_ABSENT,
    CLOSED,
    FILTERED,
    HOME,
    OFFICE,
    RULES,
    SAME_OUTBOUND,
    UNREACHABLE,
    exchange,
    neighbour,
)

pytestmark = [
    pytest.mark.rules(relayed(RULES)),
    pytest.mark.usefixtures("udp_servers", "fast_neighbour_failure"),
]

PROHIBITED = {4: "EHOSTUNREACH", 6: "EACCES"}
SIZES = [0, 5, 1200]
NARROW = 1360
"""MTU of a link behind the gateway, and of the VPN's far side."""

_ports = count(7001)
"""Each test one of its own: a mapping outlives its test."""
_fresh = {family.version: count(2) for family in FAMILIES}
"""Added to a host: one whose path MTU is not known yet."""


@pytest.fixture(scope="module")
def fast_neighbour_failure(bed: Testbed) -> None:
    """Neighbour resolution fails after 0.3 s."""
    bed.router.sysctl(
        ipv4__neigh__eth0__retrans_time_ms=100, ipv6__neigh__eth0__retrans_time_ms=100
    )


def errors(
    namespace: Namespace, address: str, port: int = 7, **options: object
) -> list[dict[str, Any]]:
    """The errors that a client gets with their data, without the addresses that it sent to."""
    reports = exchange(namespace, address, port, report=True, **options).found
    for found in reports:
        assert isinstance(found, dict), found
        if found["offender"] == address:
            found["offender"] = "the destination"
        assert found.pop("destination")[0] == address
    return reports


def error(namespace: Namespace, address: str, port: int = 7, **options: object) -> dict[str, Any]:
    """The only one."""
    (found,) = errors(namespace, address, port, **options)
    return found


@SAME_OUTBOUND
def test_a_closed_port_refuses_at_once(
    sender: Namespace, family: Family, through: int, bare: int
) -> None:
    ours = error(sender, family.far(through), CLOSED)
    assert ours == error(sender, family.far(bare), CLOSED)
    assert ours["error"] == "ECONNREFUSED"
    for number in (through, bare):
        assert exchange(sender, family.far(number), CLOSED).found == ["ECONNREFUSED"]


@SAME_OUTBOUND
def test_a_filtered_port_names_the_sender_of_the_error(
    sender: Namespace, family: Family, through: int, bare: int
) -> None:
    ours = error(sender, family.far(through), FILTERED)
    assert ours == error(sender, family.far(bare), FILTERED)
    assert ours["error"] == PROHIBITED[family.version]
    for number in (through, bare):
        assert exchange(sender, family.far(number), FILTERED).found == [PROHIBITED[family.version]]


@SAME_OUTBOUND
def test_an_unreachable_host_is_reported_by_the_router_before_it(
    sender: Namespace, family: Family, through: int, bare: int
) -> None:
    ours = error(sender, family.far(through), UNREACHABLE)
    assert ours == error(sender, family.far(bare), UNREACHABLE)
    assert ours["error"] == "EHOSTUNREACH"
    assert ours["offender"] in (family.gateway, family.vpn_wg0)


@pytest.mark.parametrize("host", ["client", "router"])
@pytest.mark.parametrize("size", [0, 5, 1200, 4000])
def test_a_neighbour_that_is_not_there(
    bed: Testbed, sender: Namespace, family: Family, size: int
) -> None:
    """The router's kernel reports it once for each datagram that has waited for the neighbour; the
    client gets it from the TUN's peer. Errors of another program's datagrams are not the router's.
    A later fragment, for which IPv6 sends errors too, belongs to no flow."""
    kernel = errors(sender, neighbour(family, BARE_ABSENT), sends=[size], sockets=3)
    before = _drops(bed)
    ours = errors(sender, neighbour(family, ABSENT), sends=[size], sockets=3)
    assert {found.pop("offender") for found in ours} == {family.tun_peer}
    for found in kernel:
        del found["offender"]
    assert ours == kernel
    assert [found["error"] for found in ours] == ["EHOSTUNREACH"] * 3
    assert error(bed.router, neighbour(family, BARE_ABSENT))["error"] == "EHOSTUNREACH"
    later_fragments = 6 if (family.version, size) == (6, 4000) else 0
    before["no-binding"] = before.get("no-binding", 0) + later_fragments
    assert {"no-binding": 0} | _drops(bed) == before


def _drops(bed: Testbed) -> dict[str, int]:
    """Those of unicast: systems send multicast at any moment."""
    drops: dict[str, int] = read_status(bed.router)["drops"]
    return {reason: count for reason, count in drops.items() if reason != "multicast"}


@SAME_OUTBOUND
def test_time_exceeded_comes_from_the_real_hop(
    sender: Namespace, family: Family, through: int, bare: int
) -> None:
    """One hop more than by the kernel alone: the router's own."""
    hops = 2 if sender.name.endswith("client") else 1
    kernel = errors(sender, family.far(bare), hop_limit=hops, sends=SIZES)
    ours = errors(sender, family.far(through), hop_limit=hops + 1, sends=SIZES)
    assert len(kernel) == len(SIZES)
    assert ours == kernel
    own = errors(sender, family.far(through), hop_limit=hops, sends=SIZES)
    assert {found["offender"] for found in own} == {family.tun_peer}
    for found in (*own, *kernel):
        del found["offender"]
    assert own == kernel


@SAME_OUTBOUND
def test_req_13_a_narrow_path_is_reported_with_its_mtu(
    bed: Testbed, sender: Namespace, family: Family, through: int, bare: int
) -> None:
    """RFC 4787 REQ-13, by ICMP from behind the outbound; then the kernel has the path MTU."""
    narrow = bed.gw if through == HOME else bed.vpn
    narrow.ip(f"link set far0 mtu {NARROW}")
    try:
        host = next(_fresh[family.version])
        kernel = error(sender, family.far(bare + host), dont_fragment=True, sends=[1350])
        ours = error(sender, family.far(through + host), dont_fragment=True, sends=[1350])
        assert ours == kernel
        assert (ours["error"], ours["value"]) == ("EMSGSIZE", NARROW)
        (found,) = exchange(
            sender, family.far(through + host), dont_fragment=True, sends=[1300]
        ).found
        assert found["length"] == 1300
    finally:
        narrow.ip("link set far0 mtu 1500")


def test_req_13_the_mtu_of_the_outbound_is_reported(
    bed: Testbed, router: Tunrouter, family: Family
) -> None:
    """RFC 4787 REQ-13, by the outbound itself: a datagram longer than the tunnel's MTU."""
    host = OFFICE + next(_fresh[family.version])
    found = error(bed.client, family.far(host), dont_fragment=True, sends=[1420])
    assert (found["error"], found["value"]) == ("EMSGSIZE", 1420)


@SAME_OUTBOUND
def test_req_12_errors_end_no_mapping(
    sender: Namespace, family: Family, through: int, bare: int
) -> None:
    """RFC 4787 REQ-12."""
    port = next(_ports)
    error(sender, family.far(through), CLOSED, source_port=port)
    (found,) = exchange(sender, family.far(through), source_port=port).found
    assert found["length"] == 5
