"""What counting the answers costs that never pass the router.

    make bench          or, as root:  python -m bench.counting [--rounds 30] [--seconds 0.7]

Downloads by one and four streams and four ping floods by the direct path. While one of these loads
runs, by one router, counting is turned off and on in turn (docs/adr/019-counting.md). Compared is
what arrives for each second of processor time of all processes that take part: load, server and
router, in whose time the system does its part of the work. Where processors are the limit that is
the throughput, and other programs of the machine have little influence on it. Two slices, one after
the other, make a ratio, and each pair begins with what the last one has ended with, so that what
changes slowly affects both alike.
"""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Final

from bench import icmp
from bench.contestants import OurRouter, check_route
from bench.counting_switch import CountingSwitch
from bench.side_by_side import arguments, network, required
from bench.streams import serving
from tests.e2e.processes import Process
from tests.e2e.status import read_status
from tests.e2e.testbed import Testbed
from tests.e2e.tunrouter import GUARD, ROUTER, Tunrouter
from tests.e2e.wait import wait_until

LEAST: Final = 0.97
LOADS: Final[Mapping[str, tuple[str, ...]]] = {
    "down": ("iperf3", "--reverse"),
    "4 down": ("iperf3", "--reverse", "-P", "4"),
    "4 ping floods": ("ping",),
}
RECEIVED_BYTES, RECEIVED_PACKETS = 0, 1
"""In a line of /proc/PID/net/dev, behind the name of the interface (proc(5))."""
SLACK_S: Final = 10
"""For which a load runs longer than it is measured."""
now = time.monotonic
CONFIDENCE: Final = 1.96
"""Standard deviations to either side, for 95%."""


@contextmanager
def loaded(bed: Testbed, host: str, load: str, seconds: float) -> Iterator[None]:
    """A load runs, for as many seconds at least."""
    length = str(math.ceil(seconds) + SLACK_S)
    program, *options = LOADS[load]
    with ExitStack() as stack:
        processes: list[Process] = []
        if program == "iperf3":
            processes.append(bed.router.start("iperf3", "-c", host, "-t", length, *options))
        else:
            flood = ("ping", "-q", "-f", "-w", length, host)
            processes += [bed.router.start(*flood) for _ in range(icmp.FLOODS)]
        for process in processes:
            stack.callback(process.close)
        yield
        assert all(process.running for process in processes), f"{load} has ended"


def ratios(
    bed: Testbed, router: OurRouter, load: str, pairs: int, seconds: float
) -> tuple[Sequence[float], Sequence[float]]:
    """What arrives for a second of processor time, with counting and without it, pair by pair, as
    ratios; and what arrives in a second with it: Gbit/s, or replies."""
    of, scale = (RECEIVED_PACKETS, 1.0) if "ping" in load else (RECEIVED_BYTES, 8e-9)
    found, with_it = [], []
    with router.running(bed) as run:
        assert isinstance(run, Tunrouter)
        check_route(bed, router, bed.router)
        process = run.processes()
        with (
            CountingSwitch(process[GUARD]) as switch,
            loaded(bed, router.host, load, 2 * pairs * seconds),
        ):
            start = received(process[ROUTER], of)
            wait_until(lambda: received(process[ROUTER], of) > start + 10_000, load)
            is_on = True
            for _ in range(pairs):
                yields: dict[bool, float] = {}
                for counts in (is_on, not is_on):
                    switch.turn(on=counts)
                    used, before, began = processor_time(bed), received(process[ROUTER], of), now()
                    time.sleep(seconds)
                    amount, lasted = received(process[ROUTER], of) - before, now() - began
                    yields[counts] = amount / (processor_time(bed) - used)
                    if counts:
                        with_it.append(amount * scale / lasted)
                found.append(yields[True] / yields[False])
                is_on = not is_on
            switch.turn(on=True)
        counted = read_status(bed.router)["policies"]["home"]["packets_in"]
        assert counted, f"nothing was counted: {counted}"
    return found, with_it


def processor_time(bed: Testbed) -> float:
    """Seconds, of all processes of the router and of the far host (proc(5), schedstat)."""
    total = 0
    for process in (*bed.router.pids(), *bed.far.pids()):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            for thread in Path(f"/proc/{process}/task").iterdir():
                total += int((thread / "schedstat").read_text().split()[0])
    return total / 1e9


def received(process: int, of: int) -> int:
    """By the home interface of the namespace of a process."""
    for line in Path(f"/proc/{process}/net/dev").read_text().splitlines():
        name, _, numbers = line.partition(":")
        if name.strip() == "eth0":
            return int(numbers.split()[of])
    raise AssertionError("no eth0")


def interval(values: Sequence[float]) -> tuple[float, float]:
    """In which the median of all such values lies with 95% confidence: by the ranks of those that
    were found, whatever their distribution is."""
    ordered, number = sorted(values), len(values)
    rank = math.floor((number - CONFIDENCE * math.sqrt(number)) / 2)
    low = min(max(rank, 0), number - 1)
    return ordered[low], ordered[number - 1 - low]


def main() -> int:
    options = arguments("Measure what counting costs", seconds=0.7, rounds=30)
    passed = True
    with network() as (bed, directory), serving(bed.far):
        router = OurRouter(directory)
        for load in LOADS:
            print(f"{load}: {options.rounds} pairs", file=sys.stderr)
            found, with_it = ratios(bed, router, load, options.rounds, options.seconds)
            low, high = interval(found)
            print(
                f"{load}: {median(with_it):,.2f} a second with it; "
                "for the same processor time, of what is had without: "
                f"{median(found):.3f}, 95% within {low:.3f} to {high:.3f}"
            )
            passed &= required(f"{load}, of what is had without", median(found), at_least=LEAST)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
