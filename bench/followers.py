"""What those who look on cost: echo and TCP through the router with a follower, and without one.

    python -m bench.followers [--rounds 3] [--seconds 2] [--sender lan]

One router for the whole run; in every round each contestant has its follower started, is measured,
and has it ended: nothing, traces of which no packet matches, by words about packets and about
decisions, and `flows` at an interval of a second.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

from bench.side_by_side import arguments, in_turn, network, required, sender
from tests.e2e.netns import Namespace
from tests.e2e.status import socket_of
from tests.e2e.testbed import V4, Testbed
from tests.e2e.tunrouter import PROGRAM, rules, running

HOST = V4.far(1)
RULES = rules(f"{HOST} -> home", f"{V4.far(2)} -> office", f"{V4.far(3)} -> home")
PORT = 5201
PINGS = 20_000
WITHOUT, FLOWS = "no follower", "flows"
TRACES = {
    "trace host": ("host", V4.far(99)),
    "trace policy": ("policy", "office"),
    "trace rule": ("rule", "3"),
    "trace dropped": ("dropped",),
}
"""No packet matches. That of rule 3 would leave by the interface of those that are sent."""
MOST_COST = {**dict.fromkeys(TRACES, 1.05), FLOWS: 1.03}
TIME = re.compile(r"time (\d+)ms")


@contextmanager
def followed(bed: Testbed, kind: str) -> Iterator[None]:
    """While a follower of that kind is connected."""
    if kind == WITHOUT:
        yield
        return
    if kind == FLOWS:
        request = {"command": "flows", "version": 2, "interval_s": 1}
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


def echoes(namespace: Namespace) -> float:
    """Answers a second, with 16 queries on their way."""
    command = "ping", "-q", "-f", "-l", "16", "-c", str(PINGS), HOST
    found = TIME.search(namespace.run(*command, timeout=120).stdout)
    assert found
    return PINGS / (int(found[1]) / 1000)


def throughput(namespace: Namespace, seconds: int) -> float:
    """Bits a second."""
    command = "iperf3", "-J", "-c", HOST, "-p", str(PORT), "-t", str(seconds)
    result = json.loads(namespace.run(*command, timeout=60 + seconds).stdout)
    return float(result["end"]["sum_received"]["bits_per_second"])


def main() -> int:
    options = arguments("What followers cost", 2)
    measured: dict[str, list[tuple[float, float]]] = {}
    with network() as (bed, directory), running(bed.router, directory, RULES):
        server = bed.far.start("iperf3", "-s", "--forceflush", "-p", str(PORT))
        try:
            server.wait_for_output("listening")
            namespace = sender(bed, options)
            kinds = {kind: kind for kind in (WITHOUT, *MOST_COST)}
            for name, kind in in_turn(options.rounds, kinds):
                with followed(bed, kind):
                    both = echoes(namespace), throughput(namespace, options.seconds)
                measured.setdefault(name, []).append(both)
        finally:
            server.close()
    return 0 if report(measured) else 1


def report(measured: dict[str, list[tuple[float, float]]]) -> bool:
    """The medians, and the median over the rounds of each one's ratio to that round's `nobody`."""
    print(f"{'':14} {'echoes/s':>10} {'TCP Gbit/s':>11}")
    for name, rounds in measured.items():
        echo, tcp = (median(values) for values in zip(*rounds, strict=True))
        print(f"{name:14} {echo:10,.0f} {tcp / 1e9:11.2f}")
    passed = True
    for name, most in MOST_COST.items():
        for number, what in enumerate(("echo", "TCP")):
            pairs = zip(measured[WITHOUT], measured[name], strict=True)
            ratio = median(without[number] / with_it[number] for without, with_it in pairs)
            passed &= required(f"{what} with {name}", ratio, at_most=most)
    return passed


if __name__ == "__main__":
    sys.exit(main())
