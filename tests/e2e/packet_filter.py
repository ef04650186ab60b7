"""A follower of the host's own rules: it reads them by the guard at the start and whenever changes
are reported, and prints the obstacle to packets that leave by eth0 and why they are not forwarded,
a line of JSON each time.

python -m tests.e2e.packet_filter
"""

from __future__ import annotations

import json
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address

from router.platform.base.errors import PlatformError
from router.platform.linux.system import LinuxSystem
from router.policy.host_rules.model import DirectOutput, HostRules
from tests.e2e.netns import Namespace
from tests.e2e.processes import Process
from tests.e2e.wait import wait_until

ETH0 = DirectOutput("eth0", 2, [ip_address("192.0.2.5"), ip_address("2001:db8::5")])


def main() -> None:
    system = LinuxSystem([])
    system.processes.drop_privileges("nobody")
    guard = system.processes.guard()
    try:
        changes = system.packet_filter.watch_host_rules()
    except PlatformError as error:
        print(error, flush=True)
        _show(system.packet_filter.host_rules([ETH0]))
        return
    _show(system.packet_filter.host_rules([ETH0]))
    poll = select.poll()
    poll.register(changes, select.POLLIN)
    poll.register(guard.fileno(), select.POLLIN)
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == changes.fileno():
                changes.drain()
                system.packet_filter.request_host_rules([ETH0], _show)
            else:
                guard.dispatch()


def _show(rules: HostRules | PlatformError) -> None:
    if isinstance(rules, PlatformError):
        raise rules
    print(json.dumps([rules.obstacle, rules.refusals.get("eth0")]), flush=True)


class Follower:
    """A running follower."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def wait_for(self, obstacle: str | None) -> None:
        """Until the last line says so."""
        self._wait(lambda found: found[0] == obstacle, f"the obstacle {obstacle!r}")

    def wait_for_refusal(self, refusal: str | None, obstacle: str | None = None) -> None:
        """Until the last line says so, and that there is this obstacle."""
        self._wait(lambda found: found == [obstacle, refusal], f"the refusal {refusal!r}")

    def _wait(self, is_wanted: Callable[[list[str | None]], bool], what: str) -> None:
        def is_found() -> bool:
            *_, last = self._process.stdout.splitlines() or [""]
            return last.startswith("[") and last.endswith("]") and is_wanted(json.loads(last))

        wait_until(is_found, what, detail=self._process.report)

    def report(self) -> str:
        return self._process.report()


@contextmanager
def following(namespace: Namespace, *prefix: str) -> Iterator[Follower]:
    """A follower in a namespace, started by the command `prefix`."""
    process = namespace.start(*prefix, sys.executable, "-m", "tests.e2e.packet_filter")
    try:
        yield Follower(process)
        assert "Traceback" not in process.stderr, process.report()
    finally:
        process.close()


if __name__ == "__main__":
    main()
