"""What the web process costs the packets: page, metrics and followers, and clients that misbehave.

    make bench          or, as root:  python -m bench.web [--rounds 5] [--seconds 2]

Side by side, by the same router, whose rules are reloaded between: without `web`; with it, its page
and /metrics read each second, and followers of status and of events; and with a thousand clients
that connect and read nothing and one that sends garbage without end. TCP by iperf3 and floods of
pings are compared for the first two. Medians of single pings are compared with those while the same
clients are at the web process of another router, which carries no packet: so what the clients
themselves cost the machine does not count.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from statistics import median
from typing import Final

from bench import icmp
from bench.round_trips import pings
from bench.side_by_side import arguments, in_turn, network, required, sender
from bench.streams import stream
from router.control.client import begun
from tests.e2e.netns import Namespace
from tests.e2e.status import HOME, RULES, socket_of
from tests.e2e.testbed import V4, Testbed
from tests.e2e.tunrouter import Tunrouter, rules, running
from tests.e2e.wait import wait_until
from tests.e2e.web.web_client import WEB, connected, is_served

WITHOUT, WATCHED, HARASSED = "without web", "watched", "harassed"
WATCHED_ELSEWHERE, HARASSED_ELSEWHERE = "watched elsewhere", "harassed elsewhere"
COMPARED: Final = {WATCHED: WATCHED_ELSEWHERE, HARASSED: HARASSED_ELSEWHERE}
ORDER: Final = (WITHOUT, WATCHED, WATCHED_ELSEWHERE, HARASSED_ELSEWHERE, HARASSED)
"""What is compared comes one after the other."""
OTHERS: Final = rules(*(f"203.0.113.{host} -> drop" for host in range(16))) + WEB
INTERVAL_S: Final = 0.002
CLIENTS: Final = 1000
FOLLOWED: Final = (
    {"command": "status", "version": 2, "interval_s": 1},
    {"command": "events", "version": 2},
)
READS: Final = (
    "while :; do curl -s 127.0.0.1:9469/api/page 127.0.0.1:9469/metrics >/dev/null; sleep 1; done"
)
LEAST: Final = 0.97
MOST: Final = 1.2


@contextmanager
def watched(namespace: Namespace) -> Iterator[None]:
    with ExitStack() as stack:
        for request in FOLLOWED:
            follower = stack.enter_context(begun(socket_of(namespace), request))
            reader = threading.Thread(target=_read_to_the_end, args=(follower.dup(),))
            reader.start()
            stack.callback(reader.join)
            stack.callback(follower.shutdown, socket.SHUT_RDWR)
        reads = namespace.start("sh", "-c", READS)
        stack.callback(reads.close)
        yield


@contextmanager
def harassed(namespace: Namespace) -> Iterator[None]:
    """The garbage is as much as the web process takes: it closes the connection."""
    over = threading.Event()

    def send() -> None:
        while not over.wait(0.01):
            with contextlib.suppress(OSError), connected(namespace) as client:
                client.sendall(bytes(1 << 20))

    with ExitStack() as stack:
        for _ in range(CLIENTS):
            stack.enter_context(connected(namespace))
        garbage = threading.Thread(target=send)
        garbage.start()
        stack.callback(garbage.join)
        stack.callback(over.set)
        yield


@contextmanager
def case(name: str, bed: Testbed, router: Tunrouter) -> Iterator[None]:
    """What is measured under a name."""
    has_web = name in (WATCHED, HARASSED)
    router.reload(RULES + WEB if has_web else RULES)
    if has_web:
        wait_until(lambda: is_served(bed.router), "the web process")
    clients = {WATCHED: watched, WATCHED_ELSEWHERE: watched}.get(name, harassed)
    with nullcontext() if name == WITHOUT else clients(bed.router if has_web else bed.far):
        yield


def _read_to_the_end(follower: socket.socket) -> None:
    with follower, contextlib.suppress(OSError):
        while follower.recv(1 << 16):
            pass


def main() -> int:
    options = arguments("Measure what the web process costs packets", seconds=2.0, rounds=5)
    host = V4.far(HOME)
    rates: dict[str, dict[str, list[float]]] = {
        load: {WITHOUT: [], WATCHED: []} for load in ("TCP, Gbit/s", "echo, replies a second")
    }
    cases = {name: name for name in ORDER}
    times: dict[str, list[float]] = {name: [] for name in cases}
    with (
        network() as (bed, directory),
        tempfile.TemporaryDirectory(prefix="tr-bench-") as other,
        running(bed.router, directory, RULES) as router,
        running(bed.far, Path(other), OTHERS),
    ):
        server = bed.far.start("iperf3", "-s")
        sending = sender(bed, options)
        try:
            wait_until(lambda: ":5201" in bed.far.run("ss", "-Hltn").stdout, "iperf3")
            wait_until(lambda: is_served(bed.far), "the other web process")
            for name in (each for each, _ in in_turn(options.rounds, cases)):
                with case(name, bed, router):
                    times[name].append(median(pings(bed, HOME, options.seconds, INTERVAL_S)))
                    if name in (WITHOUT, WATCHED):
                        tcp, echo = rates.values()
                        tcp[name].append(stream(sending, host, options.seconds, "--reverse"))
                        replies = icmp.together(sending, host, options.seconds)
                        echo[name].append(replies / options.seconds)
        finally:
            server.close()
    return 0 if verdict(rates, times) else 1


def verdict(rates: dict[str, dict[str, list[float]]], times: dict[str, list[float]]) -> bool:
    """Prints medians of all rounds, and whether the limits are kept."""
    passed = True
    for load, found in rates.items():
        with_it, bare = median(found[WATCHED]), median(found[WITHOUT])
        print(f"{load}: {with_it:,.2f} watched, {bare:,.2f} without web")
        pairs = zip(found[WATCHED], found[WITHOUT], strict=True)
        ratio = median(watched / without for watched, without in pairs)
        passed &= required(f"{load}, of what is had without", ratio, at_least=LEAST)
    print(f"a ping, ms: {median(times[WITHOUT]):.3f} {WITHOUT}")
    for name, elsewhere in COMPARED.items():
        here, there = times[name], times[elsewhere]
        print(f"a ping, ms: {median(here):.3f} {name}, {median(there):.3f} {elsewhere}")
        ratio = median(ours / theirs for ours, theirs in zip(here, there, strict=True))
        passed &= required(f"a ping's median, {name}", ratio, at_most=MOST)
    return passed


if __name__ == "__main__":
    sys.exit(main())
