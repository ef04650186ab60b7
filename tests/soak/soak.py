"""One router with clients by both paths and both families, while it is reloaded, its VPN's
interface goes and comes, and another host floods it.

What must not be lost: a connection that lasts, none of its bytes, and a new connection, of clients
whose policy is not that of the interface that goes; of datagrams a few may be, in a flood. What
must stay as it is: the memory and the descriptors of the three processes, once the first flows have
lived their lives; a run that is shorter shows only that they are bounded.

Theory of operation of the last. What a flood begins takes up to 10 MB for a minute, so single sizes
say nothing. The least of a third of the time is what is held between floods; that of the last third
is compared with that of the first.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import cycle
from pathlib import Path
from typing import Final, NamedTuple

from tests.e2e.netns import Namespace
from tests.e2e.processes import Process
from tests.e2e.split import HOME, LINES, VPN
from tests.e2e.testbed import FAMILIES, V4, Testbed, opened_testbed
from tests.e2e.tunrouter import GUARD, ROUTER, UNDOER, Tunrouter, rules, running
from tests.soak.far import PORT

FLOODS: Final = ("echo", "fragment", "udp", "error", "syn")
FLOOD_RATE: Final = 4_000
"""Packets a second."""
FLOOD_S: Final = 2.0
FLOODER: Final = "10.1.0.77"
REST_S: Final = 1.0
"""Between two events."""
LONGEST_LIFE_S: Final = 330.0
"""Of a flow that is not used (UDP: 300 s), and the time to notice."""
MOST_MB: Final = 250.0
"""Of a process, at any time: its tables full of what floods begin, see docs/limits.md."""
MOST_DATAGRAMS_LOST: Final = 0.02
GROWTH_MB: Final = 3.0
"""As the connections of the clients that have just ended differ with the load of the machine: 1,500
more of them."""
GROWTH_DESCRIPTORS: Final = 32
PARTS: Final = 3
"""Of the time; each has to have all kinds of floods, which take 40 s."""


class Size(NamedTuple):
    """Of a process: resident memory in MB, and open descriptors."""

    memory: float
    descriptors: int


class Sample(NamedTuple):
    """When (seconds from the start), and the sizes by process."""

    at: float
    sizes: Mapping[str, Size]


class Soaked(NamedTuple):
    """counts: of all clients together, and of events. samples: one after each event."""

    counts: Counter[str]
    faults: list[str]
    samples: list[Sample]

    def problems(self) -> list[str]:
        """What was lost or has grown although it should not."""
        lost = [f"{self.counts[each]} {each}" for each in LOSSES if self.counts[each]]
        if self.counts["datagrams lost"] > MOST_DATAGRAMS_LOST * self.counts["datagrams"]:
            lost.append(f"{self.counts['datagrams lost']} datagrams lost")
        lost += [
            f"{name}: {most:.1f} MB" for name, most in self.most_mb().items() if most > MOST_MB
        ]
        for name, (before, after) in self.growth().items():
            if after.memory > before.memory + GROWTH_MB:
                lost.append(f"{name}: {before.memory:.1f} MB became {after.memory:.1f} MB")
            if after.descriptors > before.descriptors + GROWTH_DESCRIPTORS:
                lost.append(f"{name}: {before.descriptors} descriptors became {after.descriptors}")
        return lost + self.faults

    def most_mb(self) -> Mapping[str, float]:
        """The most memory of each process at any time."""
        names = self.samples[0].sizes
        return {name: max(each.sizes[name].memory for each in self.samples) for name in names}

    def growth(self) -> Mapping[str, tuple[Size, Size]]:
        """By process, the least of the first part and of the last, from LONGEST_LIFE_S on; nothing
        of a run that is shorter."""
        judged = [each for each in self.samples if each.at > LONGEST_LIFE_S]
        if len(judged) < PARTS:
            return {}
        length = (judged[-1].at - judged[0].at) / PARTS
        first = [each for each in judged if each.at <= judged[0].at + length]
        last = [each for each in judged if each.at >= judged[-1].at - length]
        return {name: (_least(first, name), _least(last, name)) for name in judged[0].sizes}


def _least(samples: list[Sample], name: str) -> Size:
    sizes = [each.sizes[name] for each in samples]
    return Size(min(each.memory for each in sizes), min(each.descriptors for each in sizes))


LOSSES: Final = ("streams lost", "connections lost")
LONGEST: Final = "longest wait of a piece, ms"


def soak(
    seconds: float, progress: Callable[[str], None] = lambda _: None, first: int = 0
) -> Soaked:
    """Mixed load for so many seconds, and events one after the other meanwhile, each kind once at
    least; of the kinds of floods, the one with the number `first` comes first."""
    with tempfile.TemporaryDirectory() as directory, opened_testbed() as bed:
        hosts = [family.far(host) for family in FAMILIES for host in (HOME, VPN)]
        far = bed.far.start(sys.executable, "-m", "tests.soak.far", *hosts)
        try:
            far.wait_for_output("listening")
            with running(bed.router, Path(directory), rules(*LINES)) as router:
                return Soak(bed, router, progress, first).run(seconds)
        finally:
            far.close()


class Soak:
    """One run of the clients and events."""

    def __init__(
        self, bed: Testbed, router: Tunrouter, progress: Callable[[str], None], first: int
    ) -> None:
        self._bed = bed
        self._router = router
        self._progress = progress
        self._counts: Counter[str] = Counter()
        self._faults: list[str] = []
        first %= len(FLOODS)
        self._floods = cycle(FLOODS[first:] + FLOODS[:first])
        self._has_more_rules = False
        self._late = 0

    def run(self, seconds: float) -> Soaked:
        begin = time.monotonic()
        samples: list[Sample] = []
        kinds = (self._reload, self._flood, self._flap)
        events = cycle(kinds)
        with self._clients() as clients:
            while time.monotonic() < begin + seconds or len(samples) < len(kinds):
                next(events)()
                time.sleep(REST_S)
                samples.append(Sample(time.monotonic() - begin, self._sizes()))
                self._progress(f"{samples[-1].at:6.0f} s  {samples[-1].sizes}")
                self._show_late(clients)
        return Soaked(self._counts, self._faults, samples)

    @contextmanager
    def _clients(self) -> Iterator[list[Process]]:
        """Two hosts, by both families; those by the VPN come and go with it, and count nothing."""
        with ExitStack() as stack:
            counted = [
                self._client(stack, namespace, family.far(HOME))
                for namespace in (self._bed.client, self._bed.router)
                for family in FAMILIES
            ]
            for namespace in (self._bed.client, self._bed.router):
                self._client(stack, namespace, V4.far(VPN))
            yield counted
            for client in counted:
                self._count(client)

    def _client(self, stack: ExitStack, namespace: Namespace, host: str) -> Process:
        client = namespace.start(sys.executable, "-m", "tests.soak.client", host)
        stack.callback(client.close)
        client.wait_for_output("running")
        return client

    def _count(self, client: Process) -> None:
        client.stop()
        found = json.loads(client.stdout.splitlines()[-1])
        self._faults += [f"{client.argv[-1]}: {fault}" for fault in found.pop("faults")]
        longest = max(self._counts[LONGEST], found.pop(LONGEST, 0))
        self._counts.update(found)
        self._counts[LONGEST] = longest

    def _show_late(self, clients: list[Process]) -> None:
        """What the kernel of each host says about its connections, when a piece is late."""
        late = sum(client.stdout.count("late\n") for client in clients)
        if late > self._late:
            self._late = late
            for namespace in (self._bed.client, self._bed.router, self._bed.far):
                shown = namespace.run("ss", "-tniom", f"( sport = :{PORT} or dport = :{PORT} )")
                self._progress(f"{late} pieces late; {namespace.name}\n{shown.stdout}")

    def _sizes(self) -> dict[str, Size]:
        pids = self._router.processes() | {ROUTER: self._router.pid}
        return {
            name.rpartition(".")[2]: Size(_memory_mb(pids[name]), _descriptors(pids[name]))
            for name in (ROUTER, GUARD, UNDOER)
        }

    def _reload(self) -> None:
        self._has_more_rules = not self._has_more_rules
        more = ("203.0.113.128/25 -> drop",) * self._has_more_rules
        assert self._router.reload(rules(*LINES, *more)).startswith("reloaded")
        self._counts["reloads"] += 1

    def _flap(self) -> None:
        self._bed.close_tunnel()
        self._bed.open_tunnel()
        self._counts["flaps"] += 1

    def _flood(self) -> None:
        kind = next(self._floods)
        options = ("--source", FLOODER, "--rate", str(FLOOD_RATE), "--seconds", str(FLOOD_S))
        command = (sys.executable, "-m", "bench.flood_sender", kind, V4.far(HOME), *options)
        sent = json.loads(self._bed.client.run(*command).stdout.splitlines()[-1])["sent"]
        self._counts["flood packets"] += sent
        self._counts["floods"] += 1


def _memory_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


def _descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
