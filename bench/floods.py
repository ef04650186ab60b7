"""Floods from a LAN host by the relayed path, and what others get beside them.

    make bench          or, as root:  python -m bench.floods [--seconds 6] [--only KIND]
                                                      [--family 4|6]

Another LAN host has an established transfer and pings, and begins a ping, a DNS query and a
connection during the flood and right after it. Required of each flood but the last: the transfer
keeps half of its rate, 95 of 100 pings take less than 20 ms, all that is begun is answered. Of
300,000 packets a second, more than one queue holds: all of that within 2 s of its end, and a
program of the router's own machine, which sends by the direct path, keeps a quarter of its rate.
A minute (`--rest`) after each, the router's resident memory is what it was before, but for
MEMORY_MB.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from bench.side_by_side import network
from tests.e2e import netns, ping
from tests.e2e.netns import Namespace, connect
from tests.e2e.processes import Process
from tests.e2e.status import read_status
from tests.e2e.testbed import FAMILIES, Family, Testbed
from tests.e2e.tunrouter import Tunrouter, rules, running
from tests.e2e.wait import wait_until

FLOODED, TRANSFER, DIRECT = 1, 2, 3
"""Far hosts."""
SILENT: Final = 200
"""A far host that does not exist."""
PORT: Final = 5201
RULES: Final = rules(*(f"{family.far_net} -> home" for family in FAMILIES))
ABSENT: Final = {4: "10.2.0.77", 6: "fd02::77"}
"""No gateway."""
OTHER: Final = {4: ("10.1.1.1", "10.1.1.2", 24), 6: ("fd11::1", "fd11::2", 64)}
"""By family, the router's address beside the other LAN host, that host's, and their prefix."""
TIME: Final = re.compile(r"time=([\d.]+) ms")
PING_INTERVAL_S: Final = 0.05
SETTLE_S: Final = 1.0
HALF, QUARTER = 0.5, 0.25
LIMIT_MS: Final = 20.0
RECOVERY_S: Final = 2.0
MINUTE_S: Final = 65.0
"""A query that was answered lives for 60 seconds (RFC 5508 REQ-2)."""
MEMORY_MB: Final = 4.0


class Flood(NamedTuple):
    """rate: packets a second. host: a far one. beyond: more than the router can look at."""

    kind: str
    rate: int
    host: int
    beyond: bool = False


FLOODS: Final = (
    Flood("syn", 5_000, SILENT),
    Flood("echo", 20_000, FLOODED),
    Flood("fragment", 20_000, FLOODED),
    Flood("udp", 20_000, FLOODED),
    Flood("syn-open", 30_000, FLOODED),
    Flood("error", 20_000, FLOODED),
    Flood("udp", 300_000, FLOODED, beyond=True),
)


class Memory(NamedTuple):
    """Resident, in MB: before a flood, the most, and after the rest."""

    before: float
    peak: float
    after: float


class Seen(NamedTuple):
    """What another host got: shares of the former rate, milliseconds, and what was not answered."""

    sent: int
    relayed: float
    direct: float
    late_ms: float
    during: list[str]
    after: list[str]
    memory: Memory


@contextmanager
def other_host(bed: Testbed) -> Iterator[Namespace]:
    """A second LAN host, at an interface of its own."""
    namespace = Namespace(f"{bed.client.name}-other")
    namespace.create()
    try:
        connect(namespace, "lan0", bed.router, "lan1")
        for near, own, length in OTHER.values():
            nodad = "nodad" * (":" in near)
            bed.router.ip(f"addr add {near}/{length} dev lan1 {nodad}")
            namespace.ip(
                f"addr add {own}/{length} dev lan0 {nodad}", f"route add default via {near}"
            )
        yield namespace
    finally:
        namespace.delete()


class Bench:
    """The processes beside a flood of one family."""

    def __init__(
        self,
        bed: Testbed,
        other: Namespace,
        router: Tunrouter,
        family: Family,
        options: argparse.Namespace,
    ) -> None:
        self._bed = bed
        self._other = other
        self._pid = router.pid
        self._family = family
        self._seconds: float = options.seconds
        self._rest: float = options.rest

    def measure(self, flood: Flood) -> Seen:
        """One flood, and a rest. A transfer lasts from before the flood until after it."""
        before = resident_mb(self._pid, "VmRSS")
        length = str(int(2 * self._seconds + 8))
        sending = self._bed.router if flood.beyond else self._other
        host = DIRECT if flood.beyond else TRANSFER
        far = self._family.far(host)
        transfer = sending.start("iperf3", "-c", far, "-t", length, "-p", str(PORT + host))
        try:
            time.sleep(SETTLE_S)
            usual = self._rate(self._seconds / 2)
            reset_peak(self._pid)
            seen = self._beside(flood, usual)
        finally:
            transfer.stop()
            transfer.close()
        peak = resident_mb(self._pid, "VmHWM")
        time.sleep(self._rest)
        return seen._replace(memory=Memory(before, peak, resident_mb(self._pid, "VmRSS")))

    def _beside(self, flood: Flood, usual: float) -> Seen:
        options = ("--source", self._family.client, "--rate", str(flood.rate), "--seconds")
        sender = self._bed.client.start(
            *(sys.executable, "-m", "bench.flood_sender", flood.kind),
            *(self._family.far(flood.host), *options, str(self._seconds)),
        )
        try:
            sender.wait_for_output("ready")
            pings = self._start_pings()
            rate = self._rate(self._seconds / 2)
            during = self._lacking()
            sender.wait(timeout=2 * self._seconds + 10)
            ended = time.perf_counter()
            after = self._lacking()
            if flood.beyond and time.perf_counter() - ended > RECOVERY_S:
                after.append("in time")
            late = self._late(pings)
            sent = json.loads(sender.stdout.splitlines()[-1])["sent"]
        finally:
            sender.close()
        share = rate / usual
        relayed, direct = (1.0, share) if flood.beyond else (share, 1.0)
        return Seen(sent, relayed, direct, late, during, after, Memory(0, 0, 0))

    def _start_pings(self) -> Process:
        count = int(self._seconds / PING_INTERVAL_S) - 20
        options = ("-i", str(PING_INTERVAL_S), "-c", str(count), "-W", "1")
        return ping.start(self._other, self._family.far(FLOODED), *options)

    def _late(self, process: Process) -> float:
        """The time within which 95 of 100 pings were answered, in milliseconds."""
        count = int(self._seconds / PING_INTERVAL_S) - 20
        try:
            times = sorted(float(each) for each in TIME.findall(ping.read(process).text))
        finally:
            process.close()
        times += [float("inf")] * (count - len(times))
        return times[int(0.95 * (count - 1))]

    def _rate(self, seconds: float) -> float:
        """Bytes a second that the transfer delivers."""
        before, start = self._delivered(), time.perf_counter()
        time.sleep(seconds)
        return (self._delivered() - before) / (time.perf_counter() - start)

    def _delivered(self) -> int:
        return self._bed.far.counter("home0", "rx_bytes")

    def _lacking(self) -> list[str]:
        """What another host begins and gets no answer to."""
        command = (sys.executable, "-m", "bench.newcomers", "try", self._family.far(FLOODED))
        found = json.loads(self._other.run(*command).stdout)
        pinged = self._other.run("ping", "-c1", "-W1", self._family.far(TRANSFER), check=False)
        lacking = [name for name, took in found.items() if took is None]
        return lacking + ["ping"] * (pinged.returncode != 0)


def resident_mb(pid: int, field: str) -> float:
    """Of a process, VmRSS (now) or VmHWM (the most since `reset_peak`)."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    (line,) = [line for line in status.splitlines() if line.startswith(field)]
    return int(line.split()[1]) / 1024


def reset_peak(pid: int) -> None:
    """proc_pid_clear_refs(5)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")


def passes(flood: Flood, seen: Seen) -> bool:
    """Whether what is required of a flood was met."""
    if seen.memory.after > seen.memory.before + MEMORY_MB:
        return False
    if flood.beyond:
        return seen.direct >= QUARTER and not seen.after
    return seen.relayed >= HALF and seen.late_ms < LIMIT_MS and not (seen.during or seen.after)


def report(family: Family, flood: Flood, seen: Seen) -> bool:
    """Prints the line of a flood; whether it passes."""
    passed = passes(flood, seen)
    transfer = f"direct {seen.direct:.2f}" if flood.beyond else f"relayed {seen.relayed:.2f}"
    lacking = ", ".join([f"{each} during" for each in seen.during] + seen.after) or "nothing"
    before, peak, afterwards = seen.memory
    print(
        f"{'pass' if passed else 'FAIL'}: {family}, {flood.rate:>7,} {flood.kind:<9} a second"
        f" ({seen.sent:>9,} sent): {transfer} of the usual rate; 95% of pings in"
        f" {seen.late_ms:6.1f} ms; unanswered: {lacking}; memory {before:.1f}, at most"
        f" {peak:.1f}, and then {afterwards:.1f} MB",
        flush=True,
    )
    return passed


@contextmanager
def far_ends(bed: Testbed) -> Iterator[None]:
    """Servers for transfers, and for what is begun."""
    started = [
        bed.far.start("iperf3", "-s", "-p", str(PORT + host)) for host in (0, TRANSFER, DIRECT)
    ]
    hosts = [family.far(FLOODED) for family in FAMILIES]
    bed.far.ip(*(f"addr add {host} dev lo" for host in hosts))  # a route is not enough for bind()
    started.append(bed.far.start(sys.executable, "-m", "bench.newcomers", "far", *hosts))
    try:
        started[-1].wait_for_output("listening")
        wait_until(lambda: f":{PORT + DIRECT}" in bed.far.run("ss", "-Hltn").stdout, "iperf3")
        yield
    finally:
        for process in started:
            process.close()


def main() -> int:
    parser = argparse.ArgumentParser(description="Floods, and what others get beside them.")
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--rest", type=float, default=MINUTE_S, help="seconds after each flood")
    parser.add_argument("--only", help="the kind of the floods")
    parser.add_argument("--family", type=int, choices=(4, 6), help="the one alone")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("the benches need root, for namespaces: run `make bench`")
    netns.sweep()
    passed = True
    families = [each for each in FAMILIES if options.family in (None, each.version)]
    with network() as (bed, directory), other_host(bed) as other, far_ends(bed):
        for family in FAMILIES:
            silent, absent = family.far(SILENT), ABSENT[family.version]
            bed.gw.ip(f"route add {silent} via {absent} onlink dev far0")
        with running(bed.router, directory, RULES) as router:
            for family in families:
                bench = Bench(bed, other, router, family, options)
                for flood in FLOODS:
                    if options.only in (None, flood.kind):
                        passed &= report(family, flood, bench.measure(flood))
            print(f"flows at the end: {read_status(bed.router)['flows']}")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
