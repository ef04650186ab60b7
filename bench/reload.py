"""What a reload costs those who have nothing to do with it: a flood of pings through the router
while its rules are read anew and applied.

    python -m bench.reload              all cases
    python -m bench.reload rules-10k    one of them

For each case: how long the reload took, and of the pings those that were lost, the longest way
before and meanwhile. Needs root, for the namespaces of the end-to-end tests.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from bench.load_rules import networks
from tests.e2e import ping
from tests.e2e.testbed import V4, Testbed, opened_testbed
from tests.e2e.tunrouter import Tunrouter, rules, running
from tests.e2e.wait import wait_until

INTERVAL_S = "0.002"
TARGET = V4.far(1)
ALL_OF_THEM = "0.0.0.0/1", "128.0.0.0/1"
"""So that few routes are needed, whatever the rules in them."""
NOBODY = "  - {cidr: 203.0.113.7, policy: drop}"
PATIENCE_S = 120.0
TIME = re.compile(r"time=([\d.]+) ms")


def some_rules(count: int, *, routed: bool) -> Callable[[Path], str]:
    """As many rules as that; `routed`: with a route for each."""

    def write(_: Path) -> str:
        lines = [f"{network} -> drop" for network in networks(count)]
        behind = [] if routed else [f"{network} -> reject" for network in ALL_OF_THEM]
        return rules(f"{TARGET} -> home", *lines, *behind)

    return write


def a_list(count: int) -> Callable[[Path], str]:
    """A list of as many networks."""

    def write(directory: Path) -> str:
        (directory / "list.txt").write_text("\n".join(networks(count)) + "\n")
        text = rules(f"{TARGET} -> home", *(f"{network} -> reject" for network in ALL_OF_THEM))
        listed = "rules:\n  - {file: list.txt, policy: drop}"
        return text.replace("rules:", listed, 1)

    return write


CASES: dict[str, Callable[[Path], str]] = {
    "rules-10": some_rules(10, routed=True),
    "rules-10k": some_rules(10_000, routed=False),
    "routes-10k": some_rules(10_000, routed=True),
    "rules-100k": some_rules(100_000, routed=False),
    "list-1m": a_list(1_000_000),
}


class Measured(NamedTuple):
    """Seconds of the reload; pings lost and sent; the longest way in milliseconds."""

    case: str
    seconds: float
    lost: int
    sent: int
    longest_before: float
    longest_meanwhile: float

    def __str__(self) -> str:
        return (
            f"{self.case:12} {self.seconds:6.2f} s   lost {self.lost} of {self.sent}   longest "
            f"before {self.longest_before:5.1f} ms, meanwhile {self.longest_meanwhile:5.1f} ms"
        )


def measure(bed: Testbed, case: str) -> Measured:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        text = CASES[case](directory)
        with running(bed.router, directory, text) as router:
            pings = ping.start(bed.client, TARGET, "-i", INTERVAL_S)
            wait_until(lambda: len(_times(pings.stdout)) > 500, "pings before")
            before = len(_times(pings.stdout))
            seconds = _reload(router, text.replace("rules:", "rules:\n" + NOBODY, 1))
            during = len(_times(pings.stdout))
            wait_until(lambda: len(_times(pings.stdout)) > during + 100, "pings afterwards")
            pings.stop(signal.SIGINT)
            found = ping.read(pings)
            pings.close()
    times = _times(found.text)
    asked = max(number for _, number in found.replies)  # the last one may still be under way
    lost = asked - found.received
    return Measured(case, seconds, lost, asked, max(times[100:before]), max(times[before:]))


def _reload(router: Tunrouter, text: str) -> float:
    """Seconds until it is done."""
    router.rules_file.write_text(text)
    before = len(router.reloads())
    began = time.monotonic()
    os.kill(router.pid, signal.SIGHUP)
    wait_until(lambda: len(router.reloads()) > before, "the reload", timeout=PATIENCE_S)
    said = router.reloads()[-1]
    assert said.startswith("reloaded"), said
    return time.monotonic() - began


def _times(text: str) -> list[float]:
    return [float(found) for found in TIME.findall(text)]


def main() -> int:
    """0 if no ping was lost."""
    lost = 0
    with opened_testbed() as bed:
        for case in sys.argv[1:] or CASES:
            found = measure(bed, case)
            lost += found.lost
            print(found, flush=True)
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
