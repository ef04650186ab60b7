"""TCP through tunrouter, the bare path and sing-box, in one run, interleaved.

    make bench          or, as root:  python -m bench.tcp [--rounds 3] [--seconds 2] [--sender lan]

One and four streams of iperf3 in each direction, and the time that connect() takes, from a program
on the router's machine (or, with --sender lan, from a LAN host) to a host a hop behind the home
gateway. In every round each contestant is started afresh, and the run is only
worth something if its packets really went through its TUN: the route is looked at, and the TUN's
counter of bytes must have moved by what was transferred.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from bench.contestants import (
    BarePath,
    Contestant,
    OurRouter,
    SingBox,
    answers_pass,
    measured_run,
    with_sing_boxes,
)
from bench.side_by_side import LAN, ROUTER, arguments, in_turn, network, required, sender
from bench.streams import serving, stream
from tests.e2e import probes
from tests.e2e.netns import Namespace
from tests.e2e.testbed import Testbed

DIRECTIONS = {
    "up": (),
    "down": ("--reverse",),
    "4 up": ("-P", "4"),
    "4 down": ("-P", "4", "--reverse"),
}
SING_BOXES = (
    ("system", 1500),
    ("gvisor", 1500),
    ("system", 9000),
    ("system", 65535),
    ("gvisor", 65535),
)
WARM_UP_CONNECTS = 300
CONNECTS = 1000
CONNECT_PAUSE_S = 0.001

MIN_OF_BARE = {
    ROUTER: {"up": 0.7, "down": 0.7, "4 up": 0.45, "4 down": 0.45},
    LAN: {"up": 0.5, "down": 0.5, "4 up": 0.0, "4 down": 0.0},
}
MIN_OF_SING_BOX_1500 = 2.0
MIN_OF_SING_BOX_BEST = 0.9
MAX_CONNECT_OF_SYSTEM = 1.0
MAX_CONNECT_OF_GVISOR = 1.0
MAX_CONNECT_OF_BARE = 2.2
"""By the direct path."""


@dataclass
class Measured:
    """All rounds of one contestant: Gbit/s by direction; microseconds for a connect() by itself, or
    for one that follows upon the end of the last, with how many of these there are a second.
    """

    name: str
    rates: dict[str, list[float]] = field(
        default_factory=lambda: {direction: [] for direction in DIRECTIONS}
    )
    connects: list[float] = field(default_factory=list)
    in_a_row: list[float] = field(default_factory=list)
    per_second: list[float] = field(default_factory=list)

    def rate(self, direction: str) -> float:
        return median(self.rates[direction])

    @property
    def connect_us(self) -> float:
        return median(self.connects)


def measure(
    bed: Testbed, sending: Namespace, contestant: Contestant, measured: Measured, seconds: int
) -> None:
    """One round of one contestant."""
    with measured_run(bed, contestant, sending) as check_passed:
        _connects(sending, contestant, WARM_UP_CONNECTS)
        single = _connects(sending, contestant, CONNECTS, "--pause", str(CONNECT_PAUSE_S))
        measured.connects.append(single["median_us"])
        in_a_row = _connects(sending, contestant, CONNECTS)
        measured.per_second.append(in_a_row["per_second"])
        measured.in_a_row.append(in_a_row["median_us"])
        transferred = 0.0
        for direction, options in DIRECTIONS.items():
            rate = stream(sending, contestant.host, seconds, *options)
            measured.rates[direction].append(rate)
            if "up" in direction or answers_pass(bed, contestant, sending):
                transferred += rate * 1e9 / 8 * seconds
        check_passed(transferred)


def _connects(
    sending: Namespace, contestant: Contestant, count: int, *options: str
) -> dict[str, float]:
    command = (sys.executable, "-m", "bench.connects", contestant.host, str(probes.ECHO_PORT))
    done = sending.run(*command, "--count", str(count), *options)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def table(all_measured: Sequence[Measured], bare: Measured) -> str:
    directions = "".join(f"{f'{name} Gbit/s':>14}{'/bare':>7}" for name in DIRECTIONS)
    lines = [f"{'':<24}{directions}{'connect us':>12}{'in a row':>10}{'/s':>8}"]
    for one in all_measured:
        rates = "".join(
            f"{one.rate(direction):>14.2f}{one.rate(direction) / bare.rate(direction):>7.2f}"
            for direction in DIRECTIONS
        )
        in_a_row = f"{median(one.in_a_row):>10.0f}{median(one.per_second):>8.0f}"
        lines.append(f"{one.name:<24}{rates}{one.connect_us:>12.0f}{in_a_row}")
    return "\n".join(lines)


def verdict(measured: dict[str, Measured], path: str) -> bool:
    """Prints what is required and whether it was met."""
    ours, bare = measured[OurRouter.name], measured[BarePath.name]
    theirs = [one for name, one in measured.items() if name.startswith(SingBox.name)]
    narrow = [one for one in theirs if one.name.endswith(" 1500")]
    passed = True
    if path == ROUTER:
        ratio = ours.connect_us / bare.connect_us
        passed &= required("connect, of the bare path's", ratio, at_most=MAX_CONNECT_OF_BARE)
    for direction in DIRECTIONS:
        rate = ours.rate(direction)
        of_bare = rate / bare.rate(direction)
        least = MIN_OF_BARE[path][direction]
        passed &= required(f"{direction}, of the bare path's", of_bare, at_least=least)
        for what, others, bound in (
            ("at 1500", narrow, MIN_OF_SING_BOX_1500),
            ("best", theirs, MIN_OF_SING_BOX_BEST),
        ):
            ratio = rate / max(one.rate(direction) for one in others)
            passed &= required(f"{direction}, of sing-box's {what}", ratio, at_least=bound)
    gvisor = min(one.connect_us for one in theirs if " gvisor " in one.name)
    ratio = ours.connect_us / gvisor
    passed &= required("connect, of gvisor's", ratio, at_most=MAX_CONNECT_OF_GVISOR)
    if path == ROUTER:
        system = min(one.connect_us for one in theirs if " system " in one.name)
        ratio = ours.connect_us / system
        passed &= required("connect, of system's", ratio, at_most=MAX_CONNECT_OF_SYSTEM)
    return passed


def main() -> int:
    options = arguments("Measure TCP", seconds=2)
    with network() as (bed, directory):
        server = probes.start_server(bed.far)
        running = with_sing_boxes(directory, SING_BOXES)
        measured = {name: Measured(name) for name in running}
        try:
            with serving(bed.far):
                for name, one in in_turn(options.rounds, running):
                    measure(bed, sender(bed, options), one, measured[name], options.seconds)
        finally:
            server.close()
    print(table(list(measured.values()), measured[BarePath.name]))
    return 0 if verdict(measured, options.sender) else 1


if __name__ == "__main__":
    sys.exit(main())
