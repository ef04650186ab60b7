"""What counting the answers costs that never pass the router, in one run, interleaved.

    make bench          or, as root:  python -m bench.counting [--rounds 5] [--seconds 2]

Downloads by one and four streams and four ping floods by the direct path, by a router that counts
(docs/adr/019-counting.md) and by one that differs from it in that alone.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

from bench import icmp
from bench.contestants import OurRouter, check_route
from bench.side_by_side import arguments, in_turn, network, required
from bench.streams import serving, stream
from tests.e2e.status import read_status
from tests.e2e.testbed import Testbed
from tests.e2e.tunrouter import Tunrouter, rules, running

COUNTING, PLAIN = "counting", "without"
WITHOUT_COUNTING: Final = (sys.executable, "-m", "bench.without_counting")
LEAST: Final = 0.97
STREAMS: Final[Mapping[str, tuple[str, ...]]] = {
    "down": ("--reverse",),
    "4 down": ("-P", "4", "--reverse"),
}
FLOODS: Final = "4 ping floods"


class Plain(OurRouter):
    """A router that does not count."""

    name = PLAIN

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._directory = directory

    def running(self, bed: Testbed) -> AbstractContextManager[Tunrouter]:
        text = rules(f"{self.host} -> home")
        return running(bed.router, self._directory, text, program=WITHOUT_COUNTING)


@dataclass
class Measured:
    """All rounds of one router: Gbit/s and replies a second, by load."""

    rates: dict[str, list[float]] = field(
        default_factory=lambda: {load: [] for load in (*STREAMS, FLOODS)}
    )


def measure(bed: Testbed, router: OurRouter, measured: Measured, seconds: float) -> None:
    """One round of one router."""
    with router.running(bed):
        check_route(bed, router, bed.router)
        for load, options in STREAMS.items():
            measured.rates[load].append(stream(bed.router, router.host, seconds, *options))
        replies = icmp.together(bed.router, router.host, seconds)
        measured.rates[FLOODS].append(replies / seconds)
        counted = read_status(bed.router)["policies"]["home"]["packets_in"]
        assert (counted is None) == (router.name == PLAIN), counted


def main() -> int:
    options = arguments("Measure what counting costs", seconds=2.0, rounds=5)
    make: Mapping[str, Callable[[Path], OurRouter]] = {COUNTING: OurRouter, PLAIN: Plain}
    with network() as (bed, directory):
        routers = {name: one(directory) for name, one in make.items()}
        measured = {name: Measured() for name in routers}
        with serving(bed.far):
            for name, one in in_turn(options.rounds, routers):
                measure(bed, one, measured[name], options.seconds)
    passed = True
    for load in (*STREAMS, FLOODS):
        with_it, without = (median(measured[name].rates[load]) for name in (COUNTING, PLAIN))
        print(f"{load}: {with_it:,.2f} with it, {without:,.2f} without")
        passed &= required(f"{load}, of what is had without", with_it / without, at_least=LEAST)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
