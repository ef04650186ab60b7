"""The time until the network is restored: a VPN's policy after its interface was removed and has
returned with another index, and the system after SIGKILL of one or two of the router's processes.

    make bench          or, as root:  python -m bench.recovery [--rounds 5]

Medians and the worst of all rounds; the limits are for the worst. A policy is down or up when the
log has the line, and the system is restored when its state as text is as before and neither a
process nor a file of the router is left: reading that state takes a twentieth of a second by
itself, which is printed too.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

from bench.side_by_side import arguments, in_turn, network
from tests.e2e import ping
from tests.e2e.snapshot import state, wait_for_state
from tests.e2e.testbed import FAMILIES, Testbed
from tests.e2e.tunrouter import GUARD, KILLED, UNDOER, Tunrouter, files_of, rules, running
from tests.e2e.wait import wait_until

HOME, VPN = 1, 2
RULES = rules(
    *(f"{family.far(HOME)} -> home" for family in FAMILIES),
    *(f"{family.far(VPN)} -> office" for family in FAMILIES),
)
MAX_POLICY_S, MAX_STATE_S = 1.0, 2.0
SHORT = {GUARD: "guard", UNDOER: "undoer"}


@dataclass
class Found:
    """The seconds of each round. `limit`: for each of them; None: nothing is required."""

    limit: float | None
    seconds: list[float] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return self.limit is None or max(self.seconds) <= self.limit

    def __str__(self) -> str:
        text = f"median {median(self.seconds):6.3f} s   worst {max(self.seconds):6.3f} s"
        if self.limit is None:
            return text
        return f"{text}   {'pass' if self.passed else 'FAIL'}: at most {self.limit:g} s"


class Bench:
    """What has been found so far, by what it is about."""

    def __init__(self, bed: Testbed, directory: Path) -> None:
        self._bed = bed
        self._directory = directory
        self.found: dict[str, Found] = {}

    def interface(self) -> None:
        """wg0 goes, and returns under another index."""
        bed = self._bed
        with running(bed.router, self._directory, RULES) as router:
            self._use()
            index = _index(bed)
            with self._timed("policy down", MAX_POLICY_S):
                self._until_said(router, "policy office: down", bed.close_tunnel)
            bed.router_wg.make()
            assert _index(bed) != index
            with self._timed("policy up", MAX_POLICY_S):
                self._until_said(router, "policy office: up", bed.router_wg.bring_up)
            bed.shake_hands()
            self._use()

    def killed(self, names: tuple[str, ...]) -> None:
        """SIGKILL of processes of a run, one after the other."""
        bed = self._bed
        files = files_of(bed.router)
        with self._timed("state as before, read once", None):
            before = state(bed.router)
        with running(bed.router, self._directory, RULES) as router:
            self._use()
            assert state(bed.router) != before
            with self._timed("SIGKILL of " + _shown(names), MAX_STATE_S):
                router.kill(names)
                wait_for_state(bed.router, before)
                wait_until(lambda: not router.pids(), "all of its processes to end")
                wait_until(lambda: files_of(bed.router) == files, "its files to go")
            router.stop()

    def _until_said(self, router: Tunrouter, what: str, do: Callable[[], None]) -> None:
        before = router.log.count(what)
        do()
        wait_until(lambda: router.log.count(what) > before, what, detail=lambda: router.log)

    def _use(self) -> None:
        """Traffic by every way, so that all there is to clean up has come into being."""
        for family in FAMILIES:
            for host in (HOME, VPN):
                assert ping.answered(self._bed.client, family.far(host)).received == 3

    def _timed(self, what: str, limit: float | None) -> Timed:
        return Timed(self.found.setdefault(what, Found(limit)))


class Timed:
    """Notes the seconds that a with block has taken."""

    def __init__(self, found: Found) -> None:
        self._found = found

    def __enter__(self) -> None:
        self._began = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._found.seconds.append(time.monotonic() - self._began)


def _index(bed: Testbed) -> int:
    [link] = json.loads(bed.router.run("ip", "-j", "link", "show", "dev", "wg0").stdout)
    return int(link["ifindex"])


def _shown(names: tuple[str, ...]) -> str:
    return ", then ".join(SHORT.get(name, "router") for name in names)


def main() -> int:
    options = arguments("Measure how soon things are right again", None, rounds=5)
    with network() as (bed, directory):
        # Strict, so that the router has a setting to restore.
        bed.router.sysctl(ipv4__conf__all__rp_filter=1, ipv4__conf__eth0__rp_filter=1)
        bench = Bench(bed, directory)
        cases: Mapping[str, Callable[[], None]] = {
            "interface": bench.interface,
            **{_shown(names): partial(bench.killed, names) for names in KILLED},
        }
        for _, case in in_turn(options.rounds, cases):
            case()
    for what, found in bench.found.items():
        print(f"{what:<36}{found}")
    return 0 if all(found.passed for found in bench.found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
