"""The cost of control clients for traffic: pings while twenty clients misbehave at the control
socket of the router and one more requests its status in a loop.

    make bench          or, as root:  python -m bench.control [--rounds 5] [--seconds 3]

Side by side, by the same router: without clients; with all of them at the socket of another router,
which carries no packet, so that this is their own cost on the machine; and with all of them at its
own. The last two are compared.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from statistics import median
from typing import Final

from bench.round_trips import pings
from bench.side_by_side import arguments, in_turn, network, required
from tests.e2e.misbehaving import MisbehavingClients
from tests.e2e.netns import Namespace
from tests.e2e.status import HOME, RULES, socket_of
from tests.e2e.testbed import Testbed
from tests.e2e.tunrouter import PROGRAM, rules, running
from tests.e2e.wait import wait_until

CLIENTS: Final = 20
INTERVAL_S: Final = 0.002
ALONE, ELSEWHERE, LOADED = "no clients", "21 clients elsewhere", "21 clients at ours"
OTHERS: Final = rules(*(f"203.0.113.{host} -> drop" for host in range(16)))
"""As many rules as ours has, for addresses without traffic."""
MAX_RATIO: Final = 1.5


@contextmanager
def loaded(namespace: Namespace) -> Iterator[None]:
    """All those clients at the socket of the router there, served at least once when the block
    begins."""
    over = threading.Event()
    ends: list[int] = []

    def request_status() -> None:
        while not over.is_set():
            ends.append(namespace.run(PROGRAM, "status", check=False).returncode)

    asking = threading.Thread(target=request_status)
    asking.start()
    try:
        with MisbehavingClients(socket_of(namespace), CLIENTS) as clients:
            wait_until(lambda: clients.done > CLIENTS and ends, "clients that are served")
            yield
    finally:
        over.set()
        asking.join()


def _passed(bed: Testbed) -> int | None:
    """Packets there and back, as the router counts them; None while it has no room for a client."""
    done = bed.router.run(PROGRAM, "status", "--json", check=False)
    return int(json.loads(done.stdout)["rules"][0]["packets"]) if done.returncode == 0 else None


def verdict(measured: dict[str, list[list[float]]]) -> bool:
    """Prints medians and longest round trips, of all rounds, and whether the limit is kept."""
    for name, rounds in measured.items():
        times = sorted(time for each in rounds for time in each)
        print(
            f"{name:<24}median {median(times):6.3f} ms   longest {times[-1]:6.1f} ms"
            f"   lost 0 of {len(times)}"
        )
    pairs = zip(measured[ELSEWHERE], measured[LOADED], strict=True)
    ratio = median(median(loaded) / median(elsewhere) for elsewhere, loaded in pairs)
    return required("median, at ours to elsewhere", ratio, at_most=MAX_RATIO)


def main() -> int:
    options = arguments("Measure the cost of control clients for traffic", 3.0, rounds=5)
    with (
        network() as (bed, directory),
        running(bed.router, directory, RULES),
        running(bed.far, directory, OTHERS),
    ):
        cases: dict[str, Callable[[], AbstractContextManager[None]]] = {
            ALONE: nullcontext,
            ELSEWHERE: lambda: loaded(bed.far),
            LOADED: lambda: loaded(bed.router),
        }
        measured: dict[str, list[list[float]]] = {name: [] for name in cases}
        for name, case in in_turn(options.rounds, cases):
            with case():
                measured[name].append(pings(bed, HOME, options.seconds, INTERVAL_S))
        wait_until(lambda: _passed(bed) is not None, "room at the socket")
        sent = sum(len(each) for rounds in measured.values() for each in rounds)
        assert _passed(bed) == 2 * sent, "all of them by the router"
    return 0 if verdict(measured) else 1


if __name__ == "__main__":
    sys.exit(main())
