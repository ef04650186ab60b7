"""Two routers of one namespace, each with a TUN of its own, and with prefixes that both have."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from tests.e2e import ping
from tests.e2e.snapshot import state, wait_for_state
from tests.e2e.split import HOME, LINES, RULES, VPN
from tests.e2e.testbed import FAMILIES, Testbed
from tests.e2e.tunrouter import HEAD, TUN, rules, running
from tests.e2e.wait import wait_until

SECOND = HEAD.replace(TUN, "tun12").replace("192.168.7.", "192.168.8.").replace("fd77", "fd78")
OWN = 9
"""A far host that the second one alone has a rule for."""


def test_what_ends_with_one_stays_for_the_other(bed: Testbed, tmp_path: Path) -> None:
    """Both need another `rp_filter` of the same interface, and only the first has set it."""
    text = rules(*LINES, *(f"{family.far(OWN)} -> home" for family in FAMILIES), head=SECOND)
    other = tmp_path / "other"
    other.mkdir()
    bed.router.sysctl(ipv4__conf__all__rp_filter=1, ipv4__conf__eth0__rp_filter=1)
    before = state(bed.router)
    try:
        with ExitStack() as stack:
            first = stack.enter_context(running(bed.router, tmp_path, RULES))
            second = stack.enter_context(running(bed.router, other, text))
            _all_are_answered(bed)
            wait_until(lambda: "keeps removing what is ours" in first.log + second.log, "a delay")
            assert first.stop().exit_code == 0
            done_again = "interface eth0: another program has undone what its answers need"
            wait_until(lambda: done_again in second.log, "the setting of eth0")
            _all_are_answered(bed)
        wait_for_state(bed.router, before)
    finally:
        bed.router.sysctl(ipv4__conf__all__rp_filter=0, ipv4__conf__eth0__rp_filter=0)


def _all_are_answered(bed: Testbed) -> None:
    for family in FAMILIES:
        for host in (HOME, VPN, OWN):
            assert ping.answered(bed.router, family.far(host), count=1).received == 1
