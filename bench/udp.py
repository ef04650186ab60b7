"""UDP through tunrouter, the bare path and sing-box, in one run, interleaved.

    make bench          or, as root:  python -m bench.udp [--rounds 3] [--seconds 2]

Datagrams delivered a second, up (from a program on the router's machine or, with --sender lan, from
a LAN host, to a host a hop behind the home gateway), up by eight flows in turn, down, and there and
back with 32 in flight. In every round each contestant is started afresh, and the run
is only worth something if its packets really went through its TUN: the route is looked at, and the
TUN's counters must have moved by what was delivered.
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
    check_route,
    passed_by_tun,
    with_sing_boxes,
)
from bench.side_by_side import LAN, ROUTER, arguments, in_turn, network, required, sender
from bench.udp_load import Result
from tests.e2e.netns import Namespace
from tests.e2e.processes import Process
from tests.e2e.testbed import Testbed

LOADS = {
    "up 64 B": ("up", "--size", "64"),
    "8 up 64 B": ("up", "--size", "64", "--flows", "8"),
    "down 64 B": ("down", "--size", "64"),
    "up 1400 B": ("up", "--size", "1400"),
    "down 1400 B": ("down", "--size", "1400"),
    "echo w=32": ("echo", "--window", "32"),
}
MIN_OF_SING_BOX = {
    ROUTER: {"up 64 B": 4.0, "8 up 64 B": 1.3},
    LAN: {"up 64 B": 1.5, "down 64 B": 1.5},
}
SING_BOXES = (("system", 1500), ("gvisor", 1500))


@dataclass
class Measured:
    """All rounds of one contestant: datagrams delivered a second, by load."""

    name: str
    rates: dict[str, list[float]] = field(default_factory=lambda: {load: [] for load in LOADS})

    def rate(self, load: str) -> float:
        return median(self.rates[load])


def measure(
    bed: Testbed, sending: Namespace, contestant: Contestant, measured: Measured, seconds: float
) -> None:
    """One round of one contestant."""
    with contestant.running(bed):
        check_route(bed, contestant, sending)
        for load, arguments in LOADS.items():
            before = passed_by_tun(bed, contestant)
            command = (sys.executable, "-m", "bench.udp_load", arguments[0], contestant.host)
            options = (*arguments[1:], "--seconds", str(seconds))
            result = Result(**json.loads(sending.run(*command, *options).stdout))
            measured.rates[load].append(result.rate)
            passes = "up" in load or answers_pass(bed, contestant, sending)
            if contestant.tun is not None and passes:
                passed = passed_by_tun(bed, contestant) - before
                wanted = 20 * result.delivered  # bytes: no packet is shorter
                assert passed >= wanted, f"{contestant.name}: only {passed} bytes by its TUN"


def table(all_measured: Sequence[Measured], bare: Measured) -> str:
    head = "".join(f"{f'{load} /s':>16}{'/bare':>7}" for load in LOADS)
    lines = [f"{'':<18}{head}"]
    for one in all_measured:
        rates = "".join(
            f"{one.rate(load):>16,.0f}{one.rate(load) / bare.rate(load):>7.2f}" for load in LOADS
        )
        lines.append(f"{one.name:<18}{rates}")
    return "\n".join(lines)


def verdict(measured: dict[str, Measured], path: str) -> bool:
    """Prints what is required and whether it was met."""
    theirs = [one for name, one in measured.items() if name.startswith(SingBox.name)]
    passed = True
    for load, least in MIN_OF_SING_BOX[path].items():
        ratio = measured[OurRouter.name].rate(load) / max(one.rate(load) for one in theirs)
        what = f"{load}, of sing-box's better stack"
        passed &= required(what, ratio, at_least=least)
    return passed


def far_ends(bed: Testbed, hosts: Sequence[str]) -> list[Process]:
    started = [bed.far.start(sys.executable, "-m", "bench.udp_load", "far", host) for host in hosts]
    for process in started:
        process.wait_for_output("listening")
    return started


def main() -> int:
    options = arguments("Measure UDP", seconds=2.0)
    with network() as (bed, directory):
        running = with_sing_boxes(directory, SING_BOXES)
        measured = {name: Measured(name) for name in running}
        started = far_ends(bed, sorted({one.host for one in running.values()}))
        try:
            for name, one in in_turn(options.rounds, running):
                measure(bed, sender(bed, options), one, measured[name], options.seconds)
        finally:
            for process in started:
                process.close()
    print(table(list(measured.values()), measured[BarePath.name]))
    return 0 if verdict(measured, options.sender) else 1


if __name__ == "__main__":
    sys.exit(main())
