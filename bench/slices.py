"""What something beside the packets costs them, told from the noise of a shared machine.

While a load runs by one router, that something is turned off and on in turn. Compared is what
arrives for each second of processor time of all processes that take part: load, server, router, and
what was turned on, in whose time the system does its part of the work. Where processors are the
limit that is the throughput, and other programs of the machine have little influence on it. Two
slices, one after the other, make a ratio, and each pair begins with what the last one has ended
with, so that what changes slowly affects both alike.

Always true: what is turned on or off starts and ends between two slices.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple, Protocol, Self

from bench.side_by_side import required
from tests.e2e.netns import Namespace
from tests.e2e.processes import Process
from tests.e2e.testbed import Testbed
from tests.e2e.wait import wait_until

RECEIVED_BYTES, RECEIVED_PACKETS, SENT_BYTES = 0, 1, 8
"""In a line of /proc/net/dev, behind the name of the interface (proc(5))."""
UNDER_WAY: Final = 10_000
"""Bytes or packets of a load that runs."""
CONFIDENCE: Final = 1.96
"""Standard deviations to either side, for 95%."""
FLOODS: Final = "4 ping floods"
now = time.monotonic


class Load(NamedTuple):
    """programs: command lines behind which the address is written. counted: by the home interface;
    scale: to Gbit or replies."""

    programs: Sequence[tuple[str, ...]]
    counted: int
    scale: float


def _iperf3(*options: str, counted: int = RECEIVED_BYTES) -> Load:
    return Load([("iperf3", "-t", "0", *options, "-c")], counted, 8e-9)


LOADS: Final[Mapping[str, Load]] = {
    "up": _iperf3(counted=SENT_BYTES),
    "down": _iperf3("--reverse"),
    "4 down": _iperf3("--reverse", "-P", "4"),
    FLOODS: Load([("ping", "-q", "-f")] * 4, RECEIVED_PACKETS, 1.0),
}
"""Without an end of their own."""


@dataclass(frozen=True)
class Compared:
    """ratios: of what arrives for a second of processor time with it and without it, pair by pair.
    rates: what arrives in a second with it, Gbit or replies."""

    ratios: Sequence[float]
    rates: Sequence[float]

    def report(self, name: str, least: float) -> bool:
        """Prints medians and the interval, and whether the least ratio is reached."""
        low, high = interval(self.ratios)
        print(
            f"{name}: {median(self.rates):,.2f} a second with it; for the same processor time, of "
            f"what is had without: {median(self.ratios):.3f}, 95% within {low:.3f} to {high:.3f}"
        )
        return required(f"{name}, of what is had without", median(self.ratios), at_least=least)


class Switch(Protocol):
    def turn(self, *, on: bool) -> None: ...


class ContextSwitch:
    """Enters a context that `begin` makes, and leaves it."""

    def __init__(self, begin: Callable[[], AbstractContextManager[object]]) -> None:
        self._begin = begin
        self._is_on = False
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def turn(self, *, on: bool) -> None:
        if on and not self._is_on:
            self._stack.enter_context(self._begin())
        elif not on:
            self._stack.close()
        self._is_on = on


def compared(
    bed: Testbed,
    sending: Namespace,
    host: str,
    load: Load,
    switch: Switch,
    pairs: int,
    seconds: float,
) -> Compared:
    """While a load from `sending` to a host runs, with what a switch turns on and off."""
    ratios, rates = [], []
    inside = Path(f"/proc/{bed.router.pids()[0]}")
    with running(sending, host, load):
        start = _counted(inside, load)
        wait_until(lambda: _counted(inside, load) > start + UNDER_WAY, f"{load.programs[0]}")
        is_on = True
        for _ in range(pairs):
            yields: dict[bool, float] = {}
            for each in (is_on, not is_on):
                switch.turn(on=each)
                used, before, began = _processor_time(bed), _counted(inside, load), now()
                time.sleep(seconds)
                amount, lasted = _counted(inside, load) - before, now() - began
                yields[each] = amount / (_processor_time(bed) - used)
                if each:
                    rates.append(amount * load.scale / lasted)
            ratios.append(yields[True] / yields[False])
            is_on = not is_on
    return Compared(ratios, rates)


@contextmanager
def running(sending: Namespace, host: str, load: Load) -> Iterator[None]:
    with ExitStack() as stack:
        processes: list[Process] = []
        for program in load.programs:
            processes.append(sending.start(*program, host))
            stack.callback(processes[-1].close)
        yield
        assert all(process.running for process in processes), f"{load.programs[0]} has ended"


def interval(values: Sequence[float]) -> tuple[float, float]:
    """In which the median of all such values lies with 95% confidence: by the ranks of those that
    were found, whatever their distribution is."""
    ordered, number = sorted(values), len(values)
    rank = math.floor((number - CONFIDENCE * math.sqrt(number)) / 2)
    low = min(max(rank, 0), number - 1)
    return ordered[low], ordered[number - 1 - low]


def _processor_time(bed: Testbed) -> float:
    """Seconds, of all processes of client, router and far host (proc(5), schedstat)."""
    total = 0
    for process in (*bed.client.pids(), *bed.router.pids(), *bed.far.pids()):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            for thread in Path(f"/proc/{process}/task").iterdir():
                total += int((thread / "schedstat").read_text().split()[0])
    return total / 1e9


def _counted(inside: Path, load: Load) -> int:
    """By the home interface, as a process of the router's namespace sees it."""
    for line in (inside / "net/dev").read_text().splitlines():
        name, _, numbers = line.partition(":")
        if name.strip() == "eth0":
            return int(numbers.split()[load.counted])
    raise AssertionError("no eth0")
