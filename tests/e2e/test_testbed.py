"""The test bed itself: the right paths work, the wrong ones do not, and nothing is left behind."""

from __future__ import annotations

import subprocess

from tests.e2e import netns, ping, probes
from tests.e2e.capture import Capture
from tests.e2e.hops import ANSWERED, Hop, hops
from tests.e2e.netns import Namespace
from tests.e2e.snapshot import state
from tests.e2e.testbed import Family, Testbed, opened_testbed
from tests.e2e.wait import wait_until


def test_client_reaches_far_through_home_untouched(bed: Testbed, family: Family) -> None:
    with Capture(bed.far) as far:
        assert ping.answered(bed.client, family.far(1)).received == 3
        assert far.arrivals(family.far(1)) == {("home0", family.client)}


def test_router_reaches_far_through_home(bed: Testbed, family: Family) -> None:
    with Capture(bed.far) as far:
        assert ping.answered(bed.router, family.far(1)).received == 3
        assert far.arrivals(family.far(1)) == {("home0", family.eth0)}


def test_bound_to_wg0_with_a_route_the_vpn_is_taken(bed: Testbed, family: Family) -> None:
    route = f"{family.every} dev wg0 metric 9999"
    bed.router.ip(f"route add {route}")
    try:
        with Capture(bed.far) as far:
            for address in (family.far(1), family.office(1)):
                assert ping.answered(bed.router, address, "-I", "wg0").received == 3
                assert far.arrivals(address) == {("vpn0", family.wg0)}
    finally:
        bed.router.ip(f"route del {route}")


def test_office_is_not_reached_through_home(bed: Testbed, family: Family) -> None:
    with Capture(bed.far) as far:
        assert ping.unanswered(bed.router, family.office(1)).received == 0
        assert ping.unanswered(bed.client, family.office(1)).received == 0
        assert far.arrivals(family.office(1)) == set()


def test_no_gateway_answers_for_destinations_taken_to_be_on_link(bed: Testbed) -> None:
    bed.router.ip("route add 198.51.100.9/32 dev eth0")
    try:
        pinged = ping.unanswered(bed.router, "198.51.100.9", "-I", "eth0")
        assert pinged.received == 0
    finally:
        bed.router.ip("route del 198.51.100.9/32 dev eth0")


def test_a_foreign_source_does_not_pass_the_tunnel(bed: Testbed, family: Family) -> None:
    """A client's packet that is forwarded into the VPN without translation gets no answer."""
    bed.router.ip(f"route add {family.office(2)} dev wg0")
    try:
        with Capture(bed.far) as far:
            assert ping.unanswered(bed.client, family.office(2)).received == 0
            assert far.arrivals(family.office(2)) == set()
    finally:
        bed.router.ip(f"route del {family.office(2)} dev wg0")


def test_a_hop_is_found_also_if_the_tracing_program_misses_its_answer(
    bed: Testbed, family: Family
) -> None:
    """This one does not wait for answers, and has ended before they arrive."""
    bed.router.ip(f"route add {family.office(2)} dev wg0")
    try:
        found = hops(bed.router, family.office(2), "traceroute", "-n", "-I", "-w", "0.000001")
        assert found == [
            Hop(family.vpn_wg0, is_router=True, code=0),
            Hop(family.office(2), is_router=False, code=ANSWERED),
        ]
    finally:
        bed.router.ip(f"route del {family.office(2)} dev wg0")


def test_probes_distinguish_an_answer_a_refusal_and_silence(bed: Testbed, family: Family) -> None:
    server = probes.start_server(bed.far)
    bed.far.ip(f"route add blackhole {family.client}")
    try:
        assert probes.tcp(bed.router, family.far(1)) == "connected"
        assert probes.udp(bed.router, family.far(1)) == "answered"
        assert probes.tcp(bed.router, family.far(1), port=8) == "ECONNREFUSED"
        assert probes.udp(bed.router, family.far(1), port=8) == "ECONNREFUSED"
        assert probes.tcp(bed.client, family.far(1), patience=probes.BRIEF_S) == "silence"
        assert probes.udp(bed.client, family.far(1), patience=probes.BRIEF_S) == "silence"
    finally:
        bed.far.ip(f"route del blackhole {family.client}")
        server.close()


def test_the_tunnel_closes_and_opens_again(bed: Testbed, family: Family) -> None:
    bed.close_tunnel()
    assert not bed.router.has_interface("wg0")
    bed.open_tunnel()
    assert ping.answered(bed.router, family.vpn_wg0).received == 3


def test_the_state_is_the_same_text_twice(bed: Testbed) -> None:
    before = state(bed.router)
    assert "192.0.2.2/24" in before
    assert "ipv4/conf/eth0/rp_filter:0" in before
    bed.router.ip("rule add from 192.0.2.77 lookup main")
    assert state(bed.router) != before
    bed.router.ip("rule del from 192.0.2.77 lookup main")
    assert state(bed.router) == before


def test_what_a_killed_run_has_left_is_removed(bed: Testbed) -> None:
    """What belongs to a process that lives is not touched."""
    killed = subprocess.Popen(["true"])
    killed.wait()
    dead, without = (Namespace(f"tr-{killed.pid}-1-{name}") for name in ("far", "gw"))
    dead.create()
    left = dead.runtime / "tun11.undo", dead.configuration / "hosts", without.configuration / "x"
    for file in (*left, bed.gw.configuration / "hosts"):
        file.parent.mkdir(parents=True)
        file.touch()
    sleeper = dead.start("sleep", "1000")
    wait_until(dead.pids, "the program to be in its namespace")
    netns.sweep()
    assert sleeper.wait() < 0
    sleeper.close()
    assert dead.name not in netns.names()
    assert not any(file.parent.exists() for file in left)
    assert {each.name for each in bed.namespaces} <= set(netns.names())
    assert (bed.gw.configuration / "hosts").exists()


def test_nothing_is_left_behind() -> None:
    with opened_testbed() as other:
        made = {namespace.name for namespace in other.namespaces}
        assert made <= set(netns.names())
        sleeper = other.far.start("sleep", "1000")
        left = other.far.runtime, other.far.configuration
        for directory in left:
            directory.mkdir(parents=True)
    assert not made & set(netns.names())
    assert not any(directory.exists() for directory in left)
    assert sleeper.wait() < 0, "what ran in a namespace must have been ended"
    sleeper.close()
