"""A slow uplink: an upload, and pings beside it, by tunrouter and by the bare path.

    make bench          or, as root:  python -m bench.uplink [--rounds 3] [--seconds 5]

The home interface sends RATE_MBIT (tc-tbf(8)). What the sender believes to have sent and what has
arrived show whether data is held back on the way; pings show how long the queue is.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Final

from bench.contestants import BarePath, Contestant, OurRouter, check_route
from bench.side_by_side import arguments, in_turn, network, required, sender
from tests.e2e.netns import Namespace
from tests.e2e.testbed import Testbed
from tests.e2e.wait import wait_until

RATE_MBIT: Final = 20
QUEUE: Final = 100_000
"""Bytes: 40 ms."""
AVERAGE: Final = re.compile(r"= [\d.]+/([\d.]+)/")
LEAST, MOST = 0.95, 1.1


@dataclass
class Measured:
    """All rounds of one contestant: Mbit/s as received and as the sender has it, milliseconds."""

    name: str
    received: list[float] = field(default_factory=list)
    sent: list[float] = field(default_factory=list)
    pings: list[float] = field(default_factory=list)


@contextmanager
def slow(namespace: Namespace) -> Iterator[None]:
    shape = ("tbf", "rate", f"{RATE_MBIT}mbit", "burst", "10000", "limit", str(QUEUE))
    namespace.run("tc", "qdisc", "add", "dev", "eth0", "root", *shape)
    try:
        yield
    finally:
        namespace.run("tc", "qdisc", "del", "dev", "eth0", "root")


def measure(
    bed: Testbed, sending: Namespace, contestant: Contestant, measured: Measured, seconds: int
) -> None:
    """One round of one contestant."""
    with contestant.running(bed):
        check_route(bed, contestant, sending)
        upload = sending.start("iperf3", "-J", "-c", contestant.host, "-t", str(seconds))
        try:
            wait_until(lambda: _is_sending(bed), "the upload")
            pinged = sending.run(
                "ping", "-q", "-i", "0.1", "-w", str(seconds - 1), contestant.host, check=False
            )
            upload.wait()
            found = json.loads(upload.stdout)["end"]
        finally:
            upload.close()
    measured.received.append(float(found["sum_received"]["bits_per_second"]) / 1e6)
    measured.sent.append(float(found["sum_sent"]["bits_per_second"]) / 1e6)
    average = AVERAGE.search(pinged.stdout)
    assert average is not None, pinged.stdout
    measured.pings.append(float(average[1]))


def _is_sending(bed: Testbed) -> bool:
    """Whether the queue of the uplink is filled."""
    shown = json.loads(bed.router.run("tc", "-s", "-j", "qdisc", "show", "dev", "eth0").stdout)
    return any(each["kind"] == "tbf" and each["backlog"] > 0 for each in shown)


def table(all_measured: Sequence[Measured]) -> str:
    lines = [f"{'':<12}{'received Mbit/s':>17}{'sent Mbit/s':>13}{'ping ms':>9}"]
    lines += [
        f"{one.name:<12}{median(one.received):>17.1f}{median(one.sent):>13.1f}"
        f"{median(one.pings):>9.1f}"
        for one in all_measured
    ]
    return "\n".join(lines)


def main() -> int:
    options = arguments("Measure a slow uplink", seconds=5)
    with network() as (bed, directory):
        contestants: list[Contestant] = [BarePath(), OurRouter(directory)]
        running = {one.name: one for one in contestants}
        measured = {name: Measured(name) for name in running}
        server = bed.far.start("iperf3", "-s")
        try:
            wait_until(lambda: ":5201" in bed.far.run("ss", "-Hltn").stdout, "iperf3")
            with slow(bed.router):
                for name, one in in_turn(options.rounds, running):
                    measure(bed, sender(bed, options), one, measured[name], options.seconds)
        finally:
            server.close()
    print(table(list(measured.values())))
    ours, bare = measured[OurRouter.name], measured[BarePath.name]
    passed = True
    for what, mine, theirs in (
        ("throughput", ours.received, bare.received),
        ("the sender's own progress", ours.sent, bare.sent),
    ):
        ratio = median(mine) / median(theirs)
        passed &= required(f"{what}, of the bare path's", ratio, at_least=LEAST, at_most=MOST)
    ratio = median(ours.pings) / median(bare.pings)
    passed &= required("a ping meanwhile, of the bare path's", ratio, at_most=MOST)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
