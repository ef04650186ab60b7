"""Another program that deletes one of the router's routes whenever it is restored."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Final

from tests.e2e import ping
from tests.e2e.processes import Process
from tests.e2e.test_check import installed
from tests.e2e.testbed import FAMILIES, V4, Testbed
from tests.e2e.tunrouter import Tunrouter, rules, running
from tests.e2e.wait import wait_until

PROGRAM: Final = str(Path(__file__).with_name("route_conflict.py"))
WANTED, OTHER = 1, 2
RULES: Final = rules(
    *(f"{family.far(WANTED)} -> home" for family in FAMILIES),
    *(f"{family.far(OTHER)} -> office" for family in FAMILIES),
)
AGAIN: Final = re.compile(r"keeps removing what is ours; restored: (.*); not again for ([\d.]+) s")
RESTORED: Final = "what is ours; restored: "
FIRST_S: Final = 0.1
ROW: Final = 4


def _waits(router: Tunrouter) -> list[float]:
    return [float(wait) for _, wait in AGAIN.findall(router.log)]


def _doubled(router: Tunrouter) -> bool:
    """Whether the last delays have doubled, several in a row."""
    waits = _waits(router)[-ROW:]
    return len(waits) == ROW and all(later == 2 * earlier for earlier, later in pairwise(waits))


@contextmanager
def _conflict(bed: Testbed) -> Iterator[Process]:
    process = bed.router.start(sys.executable, PROGRAM, V4.far(WANTED))
    try:
        yield process
    finally:
        process.close()


def test_restoring_backs_off_and_ends_with_the_conflict(bed: Testbed, tmp_path: Path) -> None:
    with running(bed.router, tmp_path, RULES) as router:
        routes = installed(bed)
        with _conflict(bed) as other:
            wait_until(
                lambda: _doubled(router),
                "the delays to grow",
                detail=lambda: router.log + other.report(),
            )
            # Where the other program was slow to delete the route, the back-off begins again.
            for earlier, later in pairwise(_waits(router)):
                assert later in (2 * earlier, FIRST_S), router.log
            assert {what for what, _ in AGAIN.findall(router.log)} == {f"{V4.far(WANTED)}/32"}
            for family in FAMILIES:
                assert ping.answered(bed.client, family.far(OTHER)).received == 3
            deletions = other.stdout.splitlines()
            assert set(deletions) == {"deleted"}
            wait_until(
                lambda: len(deletions) <= router.log.count(RESTORED) + 1,
                "one deletion at most for each time that it was restored",
                detail=lambda: router.log,
            )
        assert "end that program, or have it leave the routes of tun11 alone" in router.log
        wait_until(lambda: installed(bed) == routes, "the route", detail=lambda: router.log)
        for family in FAMILIES:
            for host in (WANTED, OTHER):
                assert ping.answered(bed.client, family.far(host)).received == 3
        assert installed(bed) == routes
