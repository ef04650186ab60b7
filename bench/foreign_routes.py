"""The cost of other programs' routes for traffic: round trips and streams while the system has
300,000 routes and two of them change each second.

    make bench          or, as root:  python -m bench.foreign_routes [--rounds 3] [--seconds 10]

All alike without and with the changes; a limit is for the longest round trip with them, and for
what streams lose. Pings of a host of the LAN are relayed; those of a program on the router's own
machine leave directly, as the streams do. These the kernel forwards until routes are reported as
changed.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from ipaddress import IPv4Address
from statistics import median
from typing import Final

from bench.round_trips import pings
from bench.side_by_side import arguments, in_turn, network, required
from bench.streams import serving, stream
from tests.e2e.netns import Namespace
from tests.e2e.testbed import FAMILIES, V4
from tests.e2e.tunrouter import HEAD, rules, running

HOME: Final = 1
ROUTES: Final = 300_000
PORTION: Final = 20_000
"""Of one command, which has a time limit."""
FIRST: Final = int(IPv4Address("11.0.0.0"))
CHANGED: Final = "100.64.0.0/24"
PAUSE_S: Final = 0.5
INTERVAL_S: Final = 0.01
LIMIT_MS: Final = 20.0
LEAST_RATE: Final = 0.9
STREAMS: Final[dict[str, tuple[str, ...]]] = {"TCP up": (), "TCP down": ("--reverse",)}
STILL, CHANGING = "no changes", "two changes a second"
RULES: Final = rules(
    *(f"{family.far(HOME)} -> home" for family in FAMILIES),
    *(f"{family.office_net} -> office" for family in FAMILIES),
    head=HEAD.replace("interface: eth0", "interface: default"),
)


def add_routes(namespace: Namespace) -> None:
    """By the default gateway, each of 256 addresses."""
    for start in range(0, ROUTES, PORTION):
        namespace.ip(
            *(
                f"route add {IPv4Address(FIRST + (number << 8))}/24 via {V4.gateway}"
                for number in range(start, start + PORTION)
            )
        )


@contextmanager
def changing(namespace: Namespace) -> Iterator[None]:
    """Adds and removes a route in turn."""
    over = threading.Event()

    def change() -> None:
        what = "add"
        while not over.wait(PAUSE_S):
            namespace.ip(f"route {what} {CHANGED} via {V4.gateway}")
            what = "del" if what == "add" else "add"
        if what == "del":
            namespace.ip(f"route del {CHANGED}")

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


Measured = dict[str, list[float]]
"""By case."""


def verdict(times: dict[str, Measured], rates: dict[str, Measured]) -> bool:
    """Prints medians, longest round trips and rates, by load; whether the limits are kept."""
    passed = True
    for load, measured in times.items():
        for name, found in measured.items():
            print(
                f"{load}, {name:<22}median {median(found):6.3f} ms   longest {max(found):6.1f} ms"
            )
        kept = max(measured[CHANGING]) <= LIMIT_MS
        print(f"{'pass' if kept else 'FAIL'}: {load}: longest: at most {LIMIT_MS:g} ms required")
        passed &= kept
    for load, measured in rates.items():
        for name, found in measured.items():
            print(f"{load}, {name:<22}median {median(found):6.2f} Gbit/s")
        ratio = median(measured[CHANGING]) / median(measured[STILL])
        passed &= required(f"{load}, of what it is without changes", ratio, at_least=LEAST_RATE)
    return passed


def main() -> int:
    options = arguments("Measure the cost of other programs' routes", 10.0)
    with network() as (bed, directory):
        add_routes(bed.router)
        with running(bed.router, directory, RULES), serving(bed.far):
            cases: dict[str, Callable[[], AbstractContextManager[None]]] = {
                STILL: nullcontext,
                CHANGING: lambda: changing(bed.router),
            }
            senders = {"ping, LAN": bed.client, "ping, direct": bed.router}
            times: dict[str, Measured] = {load: {name: [] for name in cases} for load in senders}
            rates: dict[str, Measured] = {load: {name: [] for name in cases} for load in STREAMS}
            for name, case in in_turn(options.rounds, cases):
                with case():
                    for load, sending in senders.items():
                        times[load][name] += pings(bed, HOME, options.seconds, INTERVAL_S, sending)
                    for load, direction in STREAMS.items():
                        rates[load][name].append(
                            stream(bed.router, V4.far(HOME), options.seconds / 2, *direction)
                        )
    return 0 if verdict(times, rates) else 1


if __name__ == "__main__":
    sys.exit(main())
