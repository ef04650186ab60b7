"""What the web process costs the packets: page, metrics and followers, and clients that misbehave.

    make bench          or, as root:  python -m bench.web [--rounds 30] [--seconds 1]

The web process, with its page and /metrics read and followers of status and of events, is turned on
and off while a load runs, see bench.slices. All of it is read TIMES_AS_OFTEN as once a second, as
often as the web process itself asks the router, and may cost as many times as much; the clients
that read are no part of it. Medians of single pings are compared with those while the same clients,
or a thousand that connect and read nothing and one that sends garbage without end, are at the web
process of another router, which carries no packet: so what the clients themselves cost the machine
does not count.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from statistics import median
from typing import Final

from bench.round_trips import pings
from bench.side_by_side import arguments, in_turn, network, required, sender
from bench.slices import FLOODS, LOADS, ContextSwitch, compared
from bench.streams import serving
from router.control.client import begun
from tests.e2e.netns import Namespace
from tests.e2e.status import HOME, RULES, socket_of
from tests.e2e.testbed import V4, Testbed
from tests.e2e.tunrouter import rules, running
from tests.e2e.wait import wait_until
from tests.e2e.web.web_client import WEB, connected, is_served, web_by_hand

TIMES_AS_OFTEN: Final = 2.5
PATHS: Final = "/api/page", "/metrics"
FOLLOWED: Final = (
    {"command": "status", "version": 2, "interval_s": 1 / TIMES_AS_OFTEN},
    {"command": "events", "version": 2},
)
LEAST: Final = 1 - TIMES_AS_OFTEN * 0.03

WATCHED, WATCHED_ELSEWHERE = "watched", "watched elsewhere"
HARASSED, HARASSED_ELSEWHERE = "harassed", "harassed elsewhere"
COMPARED: Final = {WATCHED: WATCHED_ELSEWHERE, HARASSED: HARASSED_ELSEWHERE}
ORDER: Final = (WATCHED, WATCHED_ELSEWHERE, HARASSED_ELSEWHERE, HARASSED)
"""What is compared comes one after the other."""
OTHERS: Final = rules(*(f"203.0.113.{host} -> drop" for host in range(16))) + WEB
PING_ROUNDS: Final = 5
PING_SECONDS: Final = 2.0
INTERVAL_S: Final = 0.002
CLIENTS: Final = 1000
MOST: Final = 1.2


@contextmanager
def watched(namespace: Namespace) -> Iterator[None]:
    over = threading.Event()
    with ExitStack() as stack:
        for request in FOLLOWED:
            follower = stack.enter_context(begun(socket_of(namespace), request))
            _run_meanwhile(stack, _read_to_the_end, follower.dup())
            stack.callback(follower.shutdown, socket.SHUT_RDWR)
        page = HTTPConnection("127.0.0.1")
        page.sock = connected(namespace)
        _run_meanwhile(stack, _read_on, page, over)
        stack.callback(over.set)
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
        _run_meanwhile(stack, send)
        stack.callback(over.set)
        yield


@contextmanager
def with_web(namespace: Namespace) -> Iterator[None]:
    """The web process, and all that reads there."""
    with web_by_hand(namespace), watched(namespace):
        yield


@contextmanager
def case(name: str, bed: Testbed) -> Iterator[None]:
    """What single pings are measured with."""
    clients = watched if name in (WATCHED, WATCHED_ELSEWHERE) else harassed
    with ExitStack() as stack:
        if name in (WATCHED, HARASSED):
            stack.enter_context(web_by_hand(bed.router))
        stack.enter_context(clients(bed.router if name in (WATCHED, HARASSED) else bed.far))
        yield


def _run_meanwhile(stack: ExitStack, run: Callable[..., None], *arguments: object) -> None:
    """In a thread, which has ended when the stack is closed."""
    thread = threading.Thread(target=run, args=arguments)
    thread.start()
    stack.callback(thread.join)


def _read_to_the_end(follower: socket.socket) -> None:
    with follower, contextlib.suppress(OSError):
        while follower.recv(1 << 16):
            pass


def _read_on(page: HTTPConnection, over: threading.Event) -> None:
    with contextlib.closing(page):
        while not over.wait(1 / TIMES_AS_OFTEN):
            for path in PATHS:
                page.request("GET", path)
                page.getresponse().read()


def main() -> int:
    options = arguments("Measure what the web process costs packets", seconds=1.0, rounds=30)
    passed = True
    with (
        network() as (bed, directory),
        tempfile.TemporaryDirectory(prefix="tr-bench-") as other,
        running(bed.router, directory, RULES),
        running(bed.far, Path(other), OTHERS),
        serving(bed.far),
    ):
        for load in (FLOODS, "up", "down"):
            print(f"{load}: {options.rounds} pairs", file=sys.stderr)
            with ContextSwitch(lambda: with_web(bed.router)) as switch:
                found = compared(
                    *(bed, sender(bed, options), V4.far(HOME), LOADS[load], switch),
                    *(options.rounds, options.seconds),
                )
            passed &= found.report(f"{load} with web", LEAST)
        wait_until(lambda: is_served(bed.far), "the other web process")
        times: dict[str, list[float]] = {name: [] for name in ORDER}
        for name, _ in in_turn(PING_ROUNDS, dict.fromkeys(ORDER)):
            with case(name, bed):
                times[name].append(median(pings(bed, HOME, PING_SECONDS, INTERVAL_S)))
    passed &= verdict(times)
    return 0 if passed else 1


def verdict(times: dict[str, list[float]]) -> bool:
    """Prints medians of all rounds, and whether the limits are kept."""
    passed = True
    for name, elsewhere in COMPARED.items():
        here, there = times[name], times[elsewhere]
        print(f"a ping, ms: {median(here):.3f} {name}, {median(there):.3f} {elsewhere}")
        ratio = median(ours / theirs for ours, theirs in zip(here, there, strict=True))
        passed &= required(f"a ping's median, {name}", ratio, at_most=MOST)
    return passed


if __name__ == "__main__":
    sys.exit(main())
