"""What counting the answers costs that never pass the router.

    make bench          or, as root:  python -m bench.counting [--rounds 30] [--seconds 0.7]

Downloads by one and four streams and four ping floods by the direct path, with counting turned on
and off (docs/adr/019-counting.md), see bench.slices.
"""

from __future__ import annotations

import sys
from typing import Final

from bench.contestants import OurRouter, check_route
from bench.counting_switch import CountingSwitch
from bench.side_by_side import arguments, network
from bench.slices import FLOODS, LOADS, Compared, compared
from bench.streams import serving
from tests.e2e.status import read_status
from tests.e2e.testbed import Testbed
from tests.e2e.tunrouter import GUARD, Tunrouter

LEAST: Final = 0.97


def measured(bed: Testbed, router: OurRouter, load: str, pairs: int, seconds: float) -> Compared:
    """By a router of its own. Counting is on again when it ends."""
    with router.running(bed) as run:
        assert isinstance(run, Tunrouter)
        check_route(bed, router, bed.router)
        with CountingSwitch(run.processes()[GUARD]) as switch:
            found = compared(bed, bed.router, router.host, LOADS[load], switch, pairs, seconds)
            switch.turn(on=True)
        counted = read_status(bed.router)["policies"]["home"]["packets_in"]
        assert counted, f"nothing was counted: {counted}"
    return found


def main() -> int:
    options = arguments("Measure what counting costs", seconds=0.7, rounds=30)
    passed = True
    with network() as (bed, directory), serving(bed.far):
        router = OurRouter(directory)
        for load in ("down", "4 down", FLOODS):
            print(f"{load}: {options.rounds} pairs", file=sys.stderr)
            found = measured(bed, router, load, options.rounds, options.seconds)
            passed &= found.report(load, LEAST)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
