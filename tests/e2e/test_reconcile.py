"""State of the router that others remove is restored completely, and then everything works as
before: traffic of both families, no packet of the VPN outside it, other rules.

Each case is a few commands of an administrator or of another program, run while the router runs.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.e2e import ping, sockets
from tests.e2e.capture import Capture
from tests.e2e.netns import Namespace
from tests.e2e.snapshot import state, wait_for_state
from tests.e2e.test_check import installed
from tests.e2e.testbed import FAMILIES, V4, V6, Family, Testbed
from tests.e2e.tunrouter import GUARD, TUN, Tunrouter, rules, running
from tests.e2e.wait import wait_until

HOME, VPN = 1, 2
SPLIT: Final = rules(
    *(f"{family.far(HOME)} -> home" for family in FAMILIES),
    *(f"{family.far(VPN)} -> office" for family in FAMILIES),
    *(f"{family.office_net} -> office" for family in FAMILIES),
)
MORE: Final = SPLIT.replace(
    "rules:", 'rules:\n  - {cidr: [10.91.0.0/16, "fd91::/16"], policy: drop}'
)
"""Two more routes."""
OF_THE_VPN: Final = " or ".join(f"host {family.far(VPN)}" for family in FAMILIES)

REMOVALS: Final = {
    "routes": ("ip route flush proto 116", "ip -6 route flush proto 116"),
    "down": (f"ip link set {TUN} down",),
    "down and up": (f"ip link set {TUN} down", f"ip link set {TUN} up"),
    "addresses": (f"ip addr flush dev {TUN}",),
    "rule": ("ip -6 rule del pref 32800",),
    "its route": ("ip -6 route flush table all proto 116",),
    "sysctl": ("sysctl -q net.ipv4.conf.eth0.rp_filter=1",),
    "its own sysctl": (f"sysctl -q net.ipv4.conf.{TUN}.rp_filter=1", "ip route flush proto 116"),
    "all IPv4 routes of the TUN": (f"ip route flush dev {TUN}",),
    "all IPv6 routes of the TUN": (f"ip -6 route flush dev {TUN}",),
    "its connected routes": (
        f"ip route flush proto kernel dev {TUN}",
        f"ip -6 route flush proto kernel dev {TUN}",
    ),
    "its local routes": (
        f"ip route flush table local dev {TUN}",
        f"ip -6 route flush table local dev {TUN}",
    ),
    "IPv6": (f"sysctl -q net.ipv6.conf.{TUN}.disable_ipv6=1",),
    "an MTU too small for IPv6": (f"ip link set {TUN} mtu 1000",),
    "another MTU": (f"ip link set {TUN} mtu 1280",),
    "another queue": (f"ip link set {TUN} txqueuelen 10",),
    "a link-local address": (f"sysctl -q net.ipv6.conf.{TUN}.addr_gen_mode=0",),
    "another name": (
        f"ip link set {TUN} down",
        f"ip link set {TUN} name other0",
        "ip link set other0 up",
    ),
}


@contextmanager
def strict(bed: Testbed) -> Iterator[None]:
    """So that the router sets a sysctl that can be removed."""
    bed.router.sysctl(ipv4__conf__all__rp_filter=1, ipv4__conf__eth0__rp_filter=1)
    yield
    bed.router.sysctl(ipv4__conf__all__rp_filter=0, ipv4__conf__eth0__rp_filter=0)


@pytest.fixture
def strict_interface(bed: Testbed) -> Iterator[None]:
    with strict(bed):
        yield


def run_all(namespace: Namespace, *commands: str) -> None:
    for command in commands:
        namespace.run(*command.split())


def expect_traffic(bed: Testbed, *families: Family) -> None:
    """Pings and connections get through, and none of the VPN's packets by the home network."""
    with sockets.listener(bed.far) as listener, Capture(bed.gw, OF_THE_VPN) as at_gateway:
        for family in families:
            for host in (HOME, VPN):
                address = family.far(host)
                assert ping.answered(bed.client, address).received == 3
                sockets.connected(bed.client, family, address, sockets.port_of(listener)).close()
        assert at_gateway.on("home0") == []


def expect_other_rules(bed: Testbed, router: Tunrouter) -> None:
    """The router installs two more routes, and removes them again."""
    routes = installed(bed)
    assert router.reload(MORE).startswith("reloaded")
    assert len(installed(bed)) == len(routes) + 2
    assert router.reload(SPLIT).startswith("reloaded")
    assert installed(bed) == routes


@pytest.fixture(scope="class")
def kept(bed: Testbed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tunrouter]:
    with strict(bed):
        before = state(bed.router)
        with running(bed.router, tmp_path_factory.mktemp("rules"), SPLIT) as router:
            yield router
            expect_other_rules(bed, router)
        wait_for_state(bed.router, before)


class TestRemovals:
    """One after the other, while one router runs."""

    @pytest.mark.parametrize("removal", REMOVALS.values(), ids=REMOVALS)
    def test_removed_state_is_restored(
        self, bed: Testbed, kept: Tunrouter, removal: tuple[str, ...]
    ) -> None:
        routes, with_us = installed(bed), state(bed.router)
        with _held(kept):
            run_all(bed.router, *removal)
        wait_until(lambda: installed(bed) == routes, "the routes", detail=lambda: kept.log)
        wait_for_state(bed.router, with_us)
        expect_traffic(bed, *FAMILIES)
        assert "cannot be restored" not in kept.log


@pytest.mark.usefixtures("strict_interface")
def test_ipv6_that_is_turned_off_everywhere(bed: Testbed, tmp_path: Path) -> None:
    """The TUN keeps it, so that nothing of a VPN goes elsewhere; IPv4 is as before."""
    with running(bed.router, tmp_path, SPLIT) as router:
        routes, ours = _without_sources(bed), _of_the_tun(bed)
        with _without_ipv6(bed):
            router.wait_until_up("office", V4.wg0)
            run_all(bed.router, "ip route flush proto 116")
            wait_until(
                lambda: _without_sources(bed) == routes, "the routes", detail=lambda: router.log
            )
            wait_until(lambda: _of_the_tun(bed) == ours, "the TUN to be as before")
            expect_traffic(bed, V4)
            refused = ping.refused(bed.router, V6.office(1))
            assert refused.text.count(f"From {V6.tun_peer}") == 3, "they came to the router"
            expect_other_rules(bed, router)
        router.wait_until_up("office", V4.wg0, V6.wg0)
        router.wait_until_up("home", V4.eth0, V6.eth0)
        expect_traffic(bed, *FAMILIES)


@pytest.mark.usefixtures("strict_interface")
def test_what_cannot_be_restored_hinders_nothing_else(bed: Testbed, tmp_path: Path) -> None:
    """Not even root may turn IPv6 on again by the files that the guard sees."""
    with running(bed.router, tmp_path, SPLIT) as router:
        routes, with_us = installed(bed), state(bed.router)
        _in_mounts_of(router, "mount --bind /proc/sys/net/ipv6 /proc/sys/net/ipv6")
        _in_mounts_of(router, "mount -o remount,bind,ro /proc/sys/net/ipv6")
        run_all(bed.router, f"sysctl -q net.ipv6.conf.{TUN}.disable_ipv6=1")
        wait_until(
            lambda: "it cannot be restored" in router.log, "the error", detail=lambda: router.log
        )
        for text in ("disable_ipv6=0 (Read-only file system)", f"{V6.tun}/126", "IPv6 routes"):
            assert text in router.log
        run_all(bed.router, "ip route flush proto 116")
        of_v4 = [route for route in routes if ":" not in route[0]]
        wait_until(lambda: installed(bed) == of_v4, "the routes", detail=lambda: router.log)
        expect_traffic(bed, V4)
        assert router.reload(MORE).startswith("reloaded")
        assert len(installed(bed)) == len(of_v4) + 1
        assert router.reload(SPLIT).startswith("reloaded")
        assert router.log.count("it cannot be restored") == 1
        _in_mounts_of(router, "umount /proc/sys/net/ipv6")
        # An event that causes another attempt.
        run_all(bed.router, f"ip -4 route flush dev {TUN} proto 116")
        wait_for_state(bed.router, with_us)
        expect_traffic(bed, *FAMILIES)


@pytest.mark.usefixtures("strict_interface")
@pytest.mark.parametrize("loss", ["deleted", "moved"])
def test_the_router_ends_when_its_tun_is_gone(bed: Testbed, tmp_path: Path, loss: str) -> None:
    command = {"deleted": f"link del {TUN}", "moved": f"link set {TUN} netns {bed.client.name}"}
    before = state(bed.router)
    with running(bed.router, tmp_path, SPLIT) as router:
        bed.router.ip(command[loss])
        wait_until(lambda: not router.running, "it to end", detail=lambda: router.log)
        stopped = router.stop()
        assert stopped.exit_code == 1
        assert f"error: {TUN} is gone" in stopped.log
    wait_for_state(bed.router, before)
    assert not bed.client.has_interface(TUN)


@pytest.mark.usefixtures("strict_interface")
def test_a_name_that_is_taken_meanwhile(bed: Testbed, tmp_path: Path) -> None:
    """The TUN works on by another name, and gets its own again as soon as that is free."""
    with running(bed.router, tmp_path, SPLIT) as router:
        routes, with_us = installed(bed), state(bed.router)
        bed.router.ip(
            f"link set {TUN} down",
            f"link set {TUN} name other0",
            f"link add {TUN} type veth peer name other1",
            "link set other0 up",
        )
        wait_until(
            lambda: f"the name {TUN} of other0 (File exists)" in router.log,
            "the error",
            detail=lambda: router.log,
        )
        expect_traffic(bed, *FAMILIES)
        bed.router.ip(f"link del {TUN}")
        wait_until(lambda: installed(bed) == routes, "the routes", detail=lambda: router.log)
        wait_for_state(bed.router, with_us)
        expect_other_rules(bed, router)


@contextmanager
def _held(router: Tunrouter) -> Iterator[None]:
    """The guard is stopped, so that nothing is restored before everything has been removed."""
    guard = router.processes()[GUARD]
    os.kill(guard, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(guard, signal.SIGCONT)


@contextmanager
def _without_ipv6(bed: Testbed) -> Iterator[None]:
    """All interfaces lose their IPv6 addresses and routes, which are added again afterwards."""
    bed.router.sysctl(ipv6__conf__all__disable_ipv6=1)
    try:
        yield
    finally:
        bed.router.sysctl(ipv6__conf__all__disable_ipv6=0)
        bed.router.ip(
            *(f"addr add {each} nodad" for each in ("fd01::1/64 dev lan0", "fd08::2/64 dev wg0")),
            f"addr add {V6.eth0}/64 dev eth0 nodad",
            f"route add default via {V6.gateway}",
        )


def _without_sources(bed: Testbed) -> list[tuple[str, str, int]]:
    return [route[:3] for route in installed(bed)]


def _of_the_tun(bed: Testbed) -> list[str]:
    """But for the sources of routes, which are addresses of other interfaces."""
    lines = state(bed.router).splitlines()
    return [re.sub(r" src [0-9a-f:]+", "", line) for line in lines if TUN in line]


def _in_mounts_of(router: Tunrouter, command: str) -> None:
    """In the mount namespace of a run, which is not that of the tests."""
    own = Path("/proc/self/ns/mnt").readlink()
    assert Path(f"/proc/{router.pid}/ns/mnt").readlink() != own
    argv = ["nsenter", "--target", str(router.pid), "--mount", "--net", *command.split()]
    subprocess.run(argv, check=True)
