"""What outlives the process, written down before it is done, and undone by a process of its own.

A route, an address or a device goes with the TUN's descriptor. A sysctl, a rule and a route by
somebody else's interface do not. Before each of those the router writes one line to the *undoer*,
a small process with a session of its own that does nothing but read them. When its input ends,
because the router has closed it or because the router was killed, the undoer takes all of them
back, the last first, and ends. So there is one way to clean up, and every run uses it.

Always true: only what is exactly as we left it is undone; what somebody changed meanwhile is his.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Final

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

SYSCTL: Final = Path("/proc/sys")
PATIENCE: Final = 10.0
"""Seconds to wait for the undoer at the end; it needs a fraction of one."""

Entry = dict[str, Any]


class Undoer:
    """The router's end: `record` before the deed, `close` when all is to be undone."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def record(self, entry: Entry) -> None:
        """Write down how to undo what is about to be done. Starts the process when first needed."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "router.platform.linux.undo"],
                stdin=subprocess.PIPE,
                start_new_session=True,
            )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(entry).encode() + b"\n")
        self._process.stdin.flush()

    def close(self) -> bool:
        """Undo everything; whether that has worked."""
        if self._process is None:
            return True
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            return self._process.wait(PATIENCE) == 0
        except subprocess.TimeoutExpired:
            return False


def sysctl_entry(path: str, before: str, ours: str) -> Entry:
    return {"undo": "sysctl", "path": path, "before": before, "ours": ours}


def rule_entry(**attributes: Any) -> Entry:
    return {"undo": "rule", "attributes": attributes}


def route_entry(**attributes: Any) -> Entry:
    return {"undo": "route", "attributes": attributes}


def _restore_sysctl(entry: Entry) -> None:
    path = SYSCTL / entry["path"]
    if path.read_text().strip() == entry["ours"]:
        path.write_text(entry["before"])


def _delete_rule(entry: Entry) -> None:
    with IPRoute() as netlink:
        netlink.rule("del", **entry["attributes"])


def _delete_route(entry: Entry) -> None:
    with IPRoute() as netlink:
        netlink.route("del", **entry["attributes"])


_UNDO: Final[dict[str, Callable[[Entry], None]]] = {
    "sysctl": _restore_sysctl,
    "rule": _delete_rule,
    "route": _delete_route,
}


def undo_all(lines: IO[bytes]) -> int:
    """Read entries until the input ends, then undo them, the last first. The exit status.

    What is gone already (an interface took its sysctls and routes along) is no failure.
    """
    failures = 0
    for line in reversed(lines.readlines()):
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # the router was killed while it wrote: the deed was never done
        try:
            _UNDO[entry["undo"]](entry)
        except (FileNotFoundError, NetlinkError):
            continue
        except OSError as error:
            print(f"tunrouter: could not undo {entry}: {error}", file=sys.stderr)
            failures = 1
    return failures


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(undo_all(sys.stdin.buffer))
