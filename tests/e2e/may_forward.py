"""Follows the host's own rules as the router does, and forwards nothing: prints why packets by eth0
may not be forwarded, a line of JSON whenever that changes, null where they may.

python -m tests.e2e.may_forward
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

from router.engine.direct.obstacles import Obstacles
from router.engine.loop import Loop
from router.outbound.local_addresses import LocalAddresses
from router.platform.linux.system import LinuxSystem
from tests.e2e.netns import Namespace
from tests.e2e.processes import Process
from tests.e2e.wait import wait_until

POLL_S = 0.01


def main() -> None:
    system = LinuxSystem([])
    system.processes.drop_privileges("nobody")
    guard = system.processes.guard()
    addresses = LocalAddresses("tun11")
    addresses.refresh(system.interfaces.all())
    outbounds = cast(Any, SimpleNamespace(interface_names=lambda: {"eth0"}))
    with Loop(system.poller()) as loop, closing(system.packet_filter.watch_host_rules()) as changes:
        obstacles = Obstacles(system.packet_filter, outbounds, addresses, loop, lambda: None)
        loop.watch(guard, guard.dispatch)
        loop.watch(changes, partial(obstacles.rules_changed, changes))
        obstacles.start()
        printer = Printer(obstacles, loop)
        obstacles.revoked = printer.print_if_new
        printer.poll()
        loop.run()


class Printer:
    """Calls `forwarding` as an owner does that forwards whatever may be."""

    def __init__(self, obstacles: Obstacles, loop: Loop) -> None:
        self._obstacles = obstacles
        self._loop = loop
        self._printed: str | None = ""

    def poll(self) -> None:
        self.print_if_new()
        self._loop.call_later(POLL_S, self.poll)

    def print_if_new(self) -> None:
        why = self._obstacles.why_not_forwarded("eth0")
        if why != self._printed:
            self._printed = why
            print(json.dumps(why), flush=True)
            self._obstacles.forwarding(why is None)


class Watched:
    """A running one."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def wait_for(self, *lines: str | None) -> None:
        """Until these are all that has been printed."""
        wanted = "".join(json.dumps(line) + "\n" for line in lines)
        wait_until(
            lambda: self._process.stdout == wanted, f"{lines!r}", detail=self._process.report
        )


@contextmanager
def watching(namespace: Namespace) -> Iterator[Watched]:
    process = namespace.start(sys.executable, "-m", "tests.e2e.may_forward")
    try:
        yield Watched(process)
        assert "Traceback" not in process.stderr, process.report()
    finally:
        process.close()


if __name__ == "__main__":
    main()
