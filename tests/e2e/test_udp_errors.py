"""What goes wrong with a datagram is told as the bare kernel tells it: same error, same sender."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from tests.e2e.netns import Namespace
from tests.e2e.status import asked
from tests.e2e.testbed import FAMILIES, Family, Testbed
from tests.e2e.tunrouter import Tunrouter, running
from tests.e2e.udp import (
    BARE,
    BARE_NOBODY,
    BARE_OFFICE,
    CLOSED,
    FILTERED,
    HOME,
    NOBODY,
    OFFICE,
    RULES,
    UNREACHABLE,
    ask,
    far_hosts,
    neighbour,
)

PROHIBITED = {4: "EHOSTUNREACH", 6: "EACCES"}
NARROW = 1360
"""MTU of a link behind the gateway, and of the VPN's far side."""

_ports = count(7001)
"""Each test one of its own: a mapping outlives its test."""
_fresh = {family.version: count(2) for family in FAMILIES}
"""Added to a host: one whose path's MTU nobody has learnt yet."""

WAYS = pytest.mark.parametrize(
    ("host", "through", "bare"),
    [
        ("client", HOME, BARE),
        ("router", HOME, BARE),
        ("router", OFFICE, BARE_OFFICE),
    ],
    ids=["client-direct", "router-direct", "router-vpn"],
)


@pytest.fixture(scope="module", params=[True, False], ids=["offloads", "plain"])
def router(
    request: pytest.FixtureRequest, bed: Testbed, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Tunrouter]:
    directory = tmp_path_factory.mktemp("rules")
    with (
        far_hosts(bed),
        running(bed.router, directory, RULES, offloads=request.param) as started,
    ):
        bed.router.sysctl(  # to be sure after 0.3 s that a neighbour is not there
            ipv4__neigh__eth0__retrans_time_ms=100, ipv6__neigh__eth0__retrans_time_ms=100
        )
        yield started


@pytest.fixture
def asker(bed: Testbed, router: Tunrouter, host: str) -> Namespace:
    found: Namespace = getattr(bed, host)
    return found


def errors(
    namespace: Namespace, address: str, port: int = 7, **options: object
) -> list[dict[str, Any]]:
    """The errors that a client is told of, with what they say; the addresses asked left out."""
    told = ask(namespace, address, port, report=True, **options).found
    for found in told:
        assert isinstance(found, dict), found
        if found["offender"] == address:
            found["offender"] = "the destination"
        assert found.pop("destination")[0] == address
    return told


def error(namespace: Namespace, address: str, port: int = 7, **options: object) -> dict[str, Any]:
    """The only one."""
    (found,) = errors(namespace, address, port, **options)
    return found


@WAYS
def test_a_closed_port_refuses_at_once(
    asker: Namespace, family: Family, through: int, bare: int
) -> None:
    ours = error(asker, family.far(through), CLOSED)
    assert ours == error(asker, family.far(bare), CLOSED)
    assert ours["error"] == "ECONNREFUSED"
    for number in (through, bare):
        assert ask(asker, family.far(number), CLOSED).found == ["ECONNREFUSED"]


@WAYS
def test_a_filtered_port_says_who_prohibits(
    asker: Namespace, family: Family, through: int, bare: int
) -> None:
    ours = error(asker, family.far(through), FILTERED)
    assert ours == error(asker, family.far(bare), FILTERED)
    assert ours["error"] == PROHIBITED[family.version]
    for number in (through, bare):
        assert ask(asker, family.far(number), FILTERED).found == [PROHIBITED[family.version]]


@WAYS
def test_an_unreachable_host_is_told_by_the_router_before_it(
    asker: Namespace, family: Family, through: int, bare: int
) -> None:
    ours = error(asker, family.far(through), UNREACHABLE)
    assert ours == error(asker, family.far(bare), UNREACHABLE)
    assert ours["error"] == "EHOSTUNREACH"
    assert ours["offender"] in (family.gateway, family.vpn_wg0)


@pytest.mark.parametrize("host", ["client", "router"])
@pytest.mark.parametrize("size", [0, 5, 1200, 4000])
def test_a_neighbour_that_is_not_there(
    bed: Testbed, asker: Namespace, family: Family, size: int
) -> None:
    """Our own kernel says so, once for each datagram that has waited for him; it is told in the
    router's name. What another program has sent there is no business of the router's. Of a
    fragment that is not the first, which IPv6 speaks of too, nobody is known."""
    kernel = errors(asker, neighbour(family, BARE_NOBODY), sends=[size], sockets=3)
    before = _drops(bed)
    ours = errors(asker, neighbour(family, NOBODY), sends=[size], sockets=3)
    assert {found.pop("offender") for found in ours} == {family.tun_peer}
    for found in kernel:
        del found["offender"]
    assert ours == kernel
    assert [found["error"] for found in ours] == ["EHOSTUNREACH"] * 3
    assert error(bed.router, neighbour(family, BARE_NOBODY))["error"] == "EHOSTUNREACH"
    later_fragments = 6 if (family.version, size) == (6, 4000) else 0
    before["no-binding"] = before.get("no-binding", 0) + later_fragments
    assert {"no-binding": 0} | _drops(bed) == before


def _drops(bed: Testbed) -> dict[str, int]:
    """Those of unicast: systems announce themselves by multicast at any moment."""
    drops: dict[str, int] = asked(bed.router)["drops"]
    return {reason: count for reason, count in drops.items() if reason != "multicast"}


@WAYS
@pytest.mark.parametrize("size", [0, 5, 1200])
def test_time_exceeded_comes_from_the_real_hop(
    asker: Namespace, family: Family, through: int, bare: int, size: int
) -> None:
    """One hop more than by the kernel alone: the router's own."""
    hops = 2 if asker.name.endswith("client") else 1
    kernel = error(asker, family.far(bare), hop_limit=hops, sends=[size])
    ours = error(asker, family.far(through), hop_limit=hops + 1, sends=[size])
    assert ours == kernel
    own = error(asker, family.far(through), hop_limit=hops, sends=[size])
    assert own["offender"] == family.tun_peer
    assert {**own, "offender": ""} == {**kernel, "offender": ""}


@WAYS
def test_req_13_a_narrow_path_is_told_with_its_mtu(
    bed: Testbed, asker: Namespace, family: Family, through: int, bare: int
) -> None:
    """RFC 4787 REQ-13, by ICMP from behind the way out; from then on the kernel knows."""
    narrow = bed.gw if through == HOME else bed.vpn
    narrow.ip(f"link set far0 mtu {NARROW}")
    try:
        host = next(_fresh[family.version])
        kernel = error(asker, family.far(bare + host), dont_fragment=True, sends=[1350])
        ours = error(asker, family.far(through + host), dont_fragment=True, sends=[1350])
        assert ours == kernel
        assert (ours["error"], ours["value"]) == ("EMSGSIZE", NARROW)
        (found,) = ask(asker, family.far(through + host), dont_fragment=True, sends=[1300]).found
        assert found["length"] == 1300
    finally:
        narrow.ip("link set far0 mtu 1500")


def test_req_13_the_mtu_of_the_way_out_is_told(
    bed: Testbed, router: Tunrouter, family: Family
) -> None:
    """RFC 4787 REQ-13, by the way out itself: a datagram that the tunnel has no room for."""
    host = OFFICE + next(_fresh[family.version])
    found = error(bed.client, family.far(host), dont_fragment=True, sends=[1420])
    assert (found["error"], found["value"]) == ("EMSGSIZE", 1420)


@WAYS
def test_req_12_errors_end_no_mapping(
    asker: Namespace, family: Family, through: int, bare: int
) -> None:
    """RFC 4787 REQ-12."""
    port = next(_ports)
    error(asker, family.far(through), CLOSED, source_port=port)
    (found,) = ask(asker, family.far(through), source_port=port).found
    assert found["length"] == 5
