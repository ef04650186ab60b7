"""What those who look on cost: echo and TCP through the router with a follower, and without one.

    make bench          or, as root:  python -m bench.followers [--rounds 40] [--seconds 0.5]

Traces of which no packet matches, by words about packets and about decisions, and `flows` are
turned on and off while a load runs, see bench.slices. `flows` is asked for TIMES_AS_OFTEN as once a
second, and may cost as many times as much, so that little is needed to tell that from noise.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from bench.side_by_side import arguments, network, sender
from bench.slices import FLOODS, LOADS, ContextSwitch, compared
from bench.streams import serving
from tests.e2e.status import socket_of
from tests.e2e.testbed import V4, Testbed
from tests.e2e.tunrouter import PROGRAM, rules, running

HOST: Final = V4.far(1)
RULES: Final = rules(f"{HOST} -> home", f"{V4.far(2)} -> office", f"{V4.far(3)} -> home")
FLOWS: Final = "flows"
TRACES: Final = {
    "trace host": ("host", V4.far(99)),
    "trace port": ("port", "9"),
    "trace policy": ("policy", "office"),
    "trace rule": ("rule", "3"),
    "trace dropped": ("dropped",),
}
"""No packet matches. By a port addresses do not tell that; what rule 3 is about would leave by the
interface of those that are sent."""
TIMES_AS_OFTEN: Final = 10
LEAST: Final = {**dict.fromkeys(TRACES, 0.95), FLOWS: 1 - TIMES_AS_OFTEN * 0.03}


@contextmanager
def followed(bed: Testbed, kind: str) -> Iterator[None]:
    """While a follower of that kind is connected."""
    if kind == FLOWS:
        request = {"command": "flows", "version": 2, "interval_s": 1 / TIMES_AS_OFTEN}
        source = (
            "import sys; from pathlib import Path; from router.control.client import follow\n"
            f"for line in follow(Path({str(socket_of(bed.router))!r}), {request!r}):\n"
            "    print('tracing', flush=True)"
        )
        process = bed.router.start(sys.executable, "-c", source)
    else:
        process = bed.router.start(PROGRAM, "trace", *TRACES[kind])
    try:
        process.wait_for_output("tracing")
        yield
    finally:
        process.close()


def main() -> int:
    options = arguments("What followers cost", 0.5, rounds=40)
    passed = True
    with network() as (bed, directory), running(bed.router, directory, RULES), serving(bed.far):
        for load in (FLOODS, "up", "down"):
            for kind, least in LEAST.items():
                print(f"{load} with {kind}: {options.rounds} pairs", file=sys.stderr)
                with ContextSwitch(partial(followed, bed, kind)) as switch:
                    found = compared(
                        *(bed, sender(bed, options), HOST, LOADS[load], switch),
                        *(options.rounds, options.seconds),
                    )
                passed &= found.report(f"{load} with {kind}", least)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
