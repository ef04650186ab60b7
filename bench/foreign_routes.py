"""The cost of other programs' routes for traffic: round trips while the system has 300,000 routes
and two of them change each second.

    make bench          or, as root:  python -m bench.foreign_routes [--rounds 3] [--seconds 10]

Both alike without and with the changes; the limit is for the longest round trip with them. A ping
through the router is one of a host of the LAN, so it is relayed.
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
from bench.side_by_side import arguments, in_turn, network
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


def verdict(measured: dict[str, list[float]]) -> bool:
    """Prints medians and longest round trips, and whether the limit is kept."""
    for name, times in measured.items():
        print(f"{name:<24}median {median(times):6.3f} ms   longest {max(times):6.1f} ms")
    passed = max(measured[CHANGING]) <= LIMIT_MS
    print(f"{'pass' if passed else 'FAIL'}: longest: at most {LIMIT_MS:g} ms required")
    return passed


def main() -> int:
    options = arguments("Measure the cost of other programs' routes", 10.0)
    with network() as (bed, directory):
        add_routes(bed.router)
        with running(bed.router, directory, RULES):
            cases: dict[str, Callable[[], AbstractContextManager[None]]] = {
                STILL: nullcontext,
                CHANGING: lambda: changing(bed.router),
            }
            measured: dict[str, list[float]] = {name: [] for name in cases}
            for name, case in in_turn(options.rounds, cases):
                with case():
                    measured[name] += pings(bed, HOME, options.seconds, INTERVAL_S)
    return 0 if verdict(measured) else 1


if __name__ == "__main__":
    sys.exit(main())
