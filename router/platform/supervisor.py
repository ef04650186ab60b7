"""Notifications of the run's state by sd_notify(3), to systemd or another supervisor.

Always true: a message is one datagram that is sent without waiting; without a supervisor, or when
it does not read, nothing happens and nothing is raised.

Must not know: what is routed.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Mapping


class NotifySocket:
    """See Supervisor.

    address: of the socket that takes the messages; None: there is no supervisor.
    watchdog: see Supervisor.
    """

    def __init__(self, address: str | None, watchdog: float | None) -> None:
        self.watchdog = watchdog
        self._address = address

    def ready(self, status: str) -> None:
        self._send("READY=1", _status(status))

    def reloading(self) -> None:
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={microseconds}")

    def now(self, status: str) -> None:
        self._send(_status(status))

    def alive(self) -> None:
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        # systemd shows the last status long after the end.
        self._send("STOPPING=1", _status(""))

    def _send(self, *assignments: str) -> None:
        if self._address is None:
            return
        # A socket for each of the few messages, which are lost one by one and not from one on.
        with (
            contextlib.suppress(OSError, ValueError),
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock,
        ):
            sock.setblocking(False)
            sock.sendto("\n".join(assignments).encode(errors="replace"), self._address)


def supervisor_of(environment: Mapping[str, str], pid: int) -> NotifySocket:
    """The supervisor of the process `pid`, from its environment: NOTIFY_SOCKET, a path or `@` and a
    name, WATCHDOG_USEC and WATCHDOG_PID, as sd_notify(3) and sd_watchdog_enabled(3) say."""
    name = environment.get("NOTIFY_SOCKET", "")
    if name.startswith("@"):
        return NotifySocket("\0" + name[1:], _watchdog(environment, pid))
    if name.startswith("/"):
        return NotifySocket(name, _watchdog(environment, pid))
    return NotifySocket(None, None)


def _watchdog(environment: Mapping[str, str], pid: int) -> float | None:
    """Half of the time after which we are taken to hang."""
    patience = environment.get("WATCHDOG_USEC", "")
    watched = environment.get("WATCHDOG_PID", str(pid))
    if watched != str(pid) or not (patience.isascii() and patience.isdecimal()):
        return None
    return int(patience[:18]) / 2e6 or None


def _status(text: str) -> str:
    return "STATUS=" + " ".join(text.split())
