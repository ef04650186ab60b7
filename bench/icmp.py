"""Pings through tunrouter, the bare path, a scapy loop and sing-box, in one run, interleaved.

    make bench          or, as root:  python -m bench.icmp [--rounds 3] [--seconds 2]

Everything happens in the namespaces of the end-to-end test bed: the load comes from a LAN host,
the answers from a host a hop behind the home gateway. In every round each contestant is started
afresh, and the run is only worth something if its packets really went through its TUN: the route
is looked at, and the TUN's counter must have moved by at least the number of replies.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench.contestants import (
    BarePath,
    Contestant,
    OurRouter,
    ScapyLoop,
    SingBox,
    check_route,
    packets_by_tun,
)
from bench.ping_flood import Result
from bench.side_by_side import LAN, ROUTER, arguments, in_turn, network, required, sender
from tests.e2e.netns import Namespace
from tests.e2e.proxies import find_sing_box
from tests.e2e.testbed import Testbed

WINDOWS = (1, 16, 128)
IDLE_PINGS, IDLE_PAUSE_S = 200, 0.004
BRISK_PINGS = 5000
FLOODS = 4
"""At a time."""
AVERAGE = re.compile(r"= [\d.]+/([\d.]+)/")
RECEIVED = re.compile(r"(\d+) received")
WARM_UP_PINGS = 20

MIN_RATE_RATIO = 40.0
MIN_RATE_OF_SING_BOX = {ROUTER: 2.0, LAN: 1.0}
MAX_TRIP_RATIO = {ROUTER: 0.85, LAN: 1.2}


@dataclass
class Measured:
    """All rounds of one contestant."""

    name: str
    idle: list[Result] = field(default_factory=list)
    brisk: list[float] = field(default_factory=list)
    together: list[float] = field(default_factory=list)
    floods: dict[int, list[Result]] = field(
        default_factory=lambda: {window: [] for window in WINDOWS}
    )

    @property
    def idle_p50(self) -> float:
        """Microseconds."""
        return median(result.p50 for result in self.idle)

    @property
    def brisk_average(self) -> float:
        """Microseconds, when each request leaves as soon as the last one is answered."""
        return median(self.brisk)

    @property
    def together_rate(self) -> float:
        """Replies a second to FLOODS floods at a time."""
        return median(self.together)

    def rate(self, window: int) -> float:
        return median(result.rate for result in self.floods[window])

    @property
    def best_rate(self) -> float:
        """Replies a second at the window that suits this contestant best."""
        return max(map(self.rate, WINDOWS))

    @property
    def lost_share(self) -> float:
        results = [result for results in self.floods.values() for result in results]
        return sum(result.lost for result in results) / sum(result.sent for result in results)


def measure(
    bed: Testbed, sending: Namespace, contestant: Contestant, measured: Measured, seconds: float
) -> None:
    """One round of one contestant."""
    with contestant.running(bed):
        check_route(bed, contestant, sending)
        before = packets_by_tun(bed, contestant)
        _load(sending, contestant, "--pause", "0", "--count", str(WARM_UP_PINGS))
        idle = _load(sending, contestant, "--pause", str(IDLE_PAUSE_S), "--count", str(IDLE_PINGS))
        measured.idle.append(idle)
        measured.brisk.append(_brisk(sending, contestant))
        replied = together(sending, contestant.host, seconds)
        measured.together.append(replied / seconds)
        replies = idle.replies + BRISK_PINGS + replied
        for window in WINDOWS:
            flood = _load(sending, contestant, "--window", str(window), "--seconds", str(seconds))
            measured.floods[window].append(flood)
            replies += flood.replies
        if contestant.tun is not None:
            passed = packets_by_tun(bed, contestant) - before
            assert passed >= replies, f"{contestant.name}: {replies} replies, {passed} by its TUN"
        assert replies > 0, f"{contestant.name}: no answer at all"


def _load(sending: Namespace, contestant: Contestant, *options: str) -> Result:
    command = (sys.executable, "-m", "bench.ping_flood", contestant.host, *options)
    return Result(**json.loads(sending.run(*command).stdout))


def _brisk(sending: Namespace, contestant: Contestant) -> float:
    """The average round trip of one flood, in microseconds, as ping has it."""
    done = sending.run("ping", "-q", "-f", "-c", str(BRISK_PINGS), contestant.host, check=False)
    found = AVERAGE.search(done.stdout)
    assert found is not None, done.stdout
    return float(found[1]) * 1000


def together(sending: Namespace, host: str, seconds: float) -> int:
    """Replies to several floods at a time."""
    length = str(max(1, round(seconds)))
    pings = [sending.start("ping", "-q", "-f", "-w", length, host) for _ in range(FLOODS)]
    try:
        for process in pings:
            process.wait()
        return sum(int(RECEIVED.findall(process.stdout)[0]) for process in pings)
    finally:
        for process in pings:
            process.close()


def table(all_measured: Sequence[Measured], baseline: Measured) -> str:
    windows = "".join(f"{f'w={window} /s':>12}" for window in WINDOWS)
    head = f"{'':<12}{'idle p50 us':>12}{'flood avg us':>14}{'4 floods /s':>14}"
    lines = [f"{head}{windows}{'lost':>8}{'best/scapy':>12}"]
    for one in all_measured:
        rates = "".join(f"{one.rate(window):>12,.0f}" for window in WINDOWS)
        ratio = one.best_rate / baseline.best_rate
        lines.append(
            f"{one.name:<12}{one.idle_p50:>12.0f}{one.brisk_average:>14.0f}{one.together_rate:>14,.0f}{rates}"
            f"{one.lost_share:>8.1%}{ratio:>11.1f}x"
        )
    return "\n".join(lines)


def verdict(measured: dict[str, Measured], path: str) -> bool:
    """Prints what is required and whether it was met."""
    ours = measured[OurRouter.name]
    rate_ratio = ours.best_rate / measured[ScapyLoop.name].best_rate
    passed = required("replies a second, of the scapy loop's", rate_ratio, at_least=MIN_RATE_RATIO)
    theirs = measured[SingBox.name]
    ratio = ours.together_rate / theirs.together_rate
    what = f"replies a second to {FLOODS} floods, of sing-box's"
    passed &= required(what, ratio, at_least=MIN_RATE_OF_SING_BOX[path])
    for what, ratio in (
        ("idle", ours.idle_p50 / theirs.idle_p50),
        ("flood's", ours.brisk_average / theirs.brisk_average),
    ):
        passed &= required(f"{what} round trip, of sing-box's", ratio, at_most=MAX_TRIP_RATIO[path])
    return passed


def contestants(directory: Path) -> dict[str, Contestant]:
    """By name; their configurations are written to `directory`."""
    every = (BarePath(), OurRouter(directory), ScapyLoop(), SingBox(find_sing_box(), directory))
    return {one.name: one for one in every}


def main() -> int:
    options = arguments("Measure pings", seconds=2.0)
    with network() as (bed, directory):
        running = contestants(directory)
        measured = {name: Measured(name) for name in running}
        for name, one in in_turn(options.rounds, running):
            measure(bed, sender(bed, options), one, measured[name], options.seconds)
    print(table(list(measured.values()), measured[ScapyLoop.name]))
    return 0 if verdict(measured, options.sender) else 1


if __name__ == "__main__":
    sys.exit(main())
