"""The router's own processor time for each unit of work, by the direct and by the relayed path.

    make bench          or, as root:  python -m bench.cost [--rounds 3] [--seconds 2]

The same loads from programs on the router's machine, by a policy whose packets leave directly and
by one with `path: relay`, interleaved. Counted is what the router's processes have used, user and
system together; the work that the kernel does for a packet inside its system calls is part of it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

from bench import icmp
from bench.contestants import Contestant, OurRouter, check_route
from bench.side_by_side import arguments, in_turn, network, required
from bench.streams import serving, transferred
from bench.udp import far_ends
from tests.e2e import probes
from tests.e2e.netns import Namespace
from tests.e2e.testbed import Testbed
from tests.e2e.tunrouter import Tunrouter

DIRECT, RELAYED = "direct", "relayed"
CONNECTS: Final = 1000
TICKS: Final = os.sysconf("SC_CLK_TCK")
USER_TIME: Final = 11
"""In /proc/PID/stat, behind the name; the system's time follows (proc(5))."""
MOST_OF_RELAYED: Final = 1.0

Load = Callable[[Namespace, str, float], float]
"""Runs in a namespace against a host for some seconds; how many units of work it has done."""


def pings(sending: Namespace, host: str, seconds: float) -> float:
    return icmp.together(sending, host, seconds)


def connects(sending: Namespace, host: str, _seconds: float) -> float:
    command = (sys.executable, "-m", "bench.connects", host, str(probes.ECHO_PORT))
    sending.run(*command, "--count", str(CONNECTS))
    return CONNECTS


def stream(*options: str) -> Load:
    """In Gbit."""

    def run(sending: Namespace, host: str, seconds: float) -> float:
        return transferred(sending, host, seconds, *options)

    return run


def datagrams(*options: str) -> Load:
    def run(sending: Namespace, host: str, seconds: float) -> float:
        command = (sys.executable, "-m", "bench.udp_load", "up", host, "--size", "64")
        found = sending.run(*command, *options, "--seconds", str(seconds)).stdout
        return float(json.loads(found)["delivered"])

    return run


LOADS: Final[Mapping[str, tuple[str, float, Load]]] = {
    "4 ping floods": ("us/reply", 1e6, pings),
    "connects": ("us/connect", 1e6, connects),
    "TCP up": ("s/Gbit", 1.0, stream()),
    "TCP down": ("s/Gbit", 1.0, stream("--reverse")),
    "TCP 4 up": ("s/Gbit", 1.0, stream("-P", "4")),
    "UDP 64 B": ("us/datagram", 1e6, datagrams()),
    "UDP 8 flows": ("us/datagram", 1e6, datagrams("--flows", "8")),
}
"""The unit of the cost, how many of it are a second, and the load."""


@dataclass
class Measured:
    """Seconds of processor time for each unit of work, of all rounds, by load."""

    costs: dict[str, list[float]] = field(default_factory=lambda: {load: [] for load in LOADS})

    def cost(self, load: str) -> float:
        return median(self.costs[load])


def processor_time(pids: list[int]) -> float:
    """Seconds that these processes have used so far."""
    total = 0
    for pid in pids:
        values = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(values[USER_TIME]) + int(values[USER_TIME + 1])
    return total / TICKS


def measure(bed: Testbed, contestant: Contestant, measured: Measured, seconds: float) -> None:
    """One round of one path."""
    with contestant.running(bed) as router:
        assert isinstance(router, Tunrouter)
        check_route(bed, contestant, bed.router)
        for name, (_, _, load) in LOADS.items():
            load(bed.router, contestant.host, 0.2)  # what only a beginning costs
            before = processor_time(router.pids())
            done = load(bed.router, contestant.host, seconds)
            used = processor_time(router.pids()) - before
            measured.costs[name].append(used / done)


def table(measured: Mapping[str, Measured]) -> str:
    head = "".join(f"{f'{load} {unit}':>26}" for load, (unit, _, _) in LOADS.items())
    lines = [f"{'':<10}{head}"]
    for path, one in measured.items():
        costs = "".join(f"{one.cost(load) * scale:>26.2f}" for load, (_, scale, _) in LOADS.items())
        lines.append(f"{path:<10}{costs}")
    return "\n".join(lines)


def main() -> int:
    options = arguments("Measure the router's processor time", seconds=2.0)
    with network() as (bed, directory):
        running = {path: OurRouter(directory, path) for path in (DIRECT, RELAYED)}
        measured = {path: Measured() for path in running}
        servers = [probes.start_server(bed.far), *far_ends(bed, [OurRouter.host])]
        try:
            with serving(bed.far):
                for path, one in in_turn(options.rounds, running):
                    measure(bed, one, measured[path], options.seconds)
        finally:
            for server in servers:
                server.close()
    print(table(measured))
    passed = True
    for load in LOADS:
        ratio = measured[DIRECT].cost(load) / measured[RELAYED].cost(load)
        passed &= required(f"{load}, of the relayed path's", ratio, at_most=MOST_OF_RELAYED)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
