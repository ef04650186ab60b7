"""Watchdog messages stop while the event loop hangs, and only then."""

from __future__ import annotations

import socket
import threading
from contextlib import closing
from pathlib import Path
from typing import Final

from router.engine.loop import Loop
from router.engine.watchdog import run_watchdog
from router.platform.linux.poller import LinuxPoller
from router.platform.supervisor import NotifySocket

WATCHDOG: Final = 0.01
BOUND: Final = 20.0
SIGN: Final = b"WATCHDOG=1"


class Watcher:
    """Receives from `path`, and records when nothing has arrived for twice the interval."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(path)
        self._socket.settimeout(BOUND)
        self.missed = threading.Event()

    def receive(self) -> bytes:
        return self._socket.recv(100)

    def miss(self) -> None:
        """Return when a message is overdue."""
        self._socket.settimeout(2 * WATCHDOG)
        try:
            while self.receive() == SIGN:
                pass
        except TimeoutError:
            self.missed.set()
        self._socket.settimeout(BOUND)

    def close(self) -> None:
        self._socket.close()


def test_a_hanging_loop_sends_no_messages(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    received: list[bytes] = []
    with closing(Watcher(path)) as watcher, Loop(LinuxPoller()) as loop:

        def listen() -> None:
            watcher.miss()
            received.append(watcher.receive())
            loop.stop("the messages continue")

        listener = threading.Thread(target=listen)

        def hang() -> None:
            assert watcher.receive() == SIGN
            listener.start()
            assert watcher.missed.wait(BOUND), "a hanging loop sent watchdog messages"

        run_watchdog(NotifySocket(path, WATCHDOG), loop)
        loop.call_later(5 * WATCHDOG, hang)
        assert loop.run() == "the messages continue"
        listener.join(BOUND)
    assert received == [SIGN]
