"""Reads the running router again and again, in a thread of its own.

Each time one connection answers `status` and another one `flows`, in this order, so that both are
of one moment and of one router; of the router's places for followers none is taken, and a list of
flows that is slow to read delays the next reading and nothing else. docs/adr/028-top.md

Must not know: what the answers mean, how they are shown.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from router.cli.top.model import Snapshot
from router.control.client import NoAnswerError, find_router, request
from router.platform.base.errors import PlatformError

PATIENCE: Final = 3.0
"""Seconds that a router may be silent before that is said."""

Reading = Snapshot | str
"""A snapshot, or why there is none."""


Take = Callable[[Reading], None]
"""Raises RuntimeError when the screen is gone."""


class Source:
    """Makes a Reading every `interval` seconds.

    tun: the TUN of the router; None: the only one. Where several are running later, it stays with
    the one that it has read.
    """

    def __init__(self, tun: str | None, interval: float) -> None:
        self._tun = tun
        self._known = tun
        self._interval = interval
        self._stopped = threading.Event()

    def start(self, take: Take) -> None:
        """Call `take` with each reading, the first one at once, in another thread, until it raises
        RuntimeError."""
        threading.Thread(target=self._run, args=(take,), daemon=True).start()

    def stop(self) -> None:
        """It ends with the reading that is being made."""
        self._stopped.set()

    def _run(self, take: Take) -> None:
        while not self._stopped.is_set():
            reading = self._read()
            if self._stopped.is_set():
                return
            try:
                take(reading)
            except RuntimeError:
                return
            self._stopped.wait(self._interval)

    def _read(self) -> Reading:
        try:
            snapshot = read(self._tun, self._known)
        except (NoAnswerError, PlatformError) as error:
            return str(error)
        self._known = str(snapshot.status.get("tun"))
        return snapshot


def read(tun: str | None, known: str | None = None) -> Snapshot:
    """A snapshot of the router with that TUN, or of the only one, or of the one that is known.

    Raises NoAnswerError, PlatformError.
    """
    try:
        path = find_router(tun)
    except NoAnswerError:
        if known == tun:
            raise
        path = find_router(known)
    status = request(path, {"command": "status"}, PATIENCE)
    at = time.monotonic()
    found = request(path, {"command": "flows", "version": 2}, PATIENCE)
    return Snapshot(at, status, found.get("flows", ()), found.get("unread", ()))
