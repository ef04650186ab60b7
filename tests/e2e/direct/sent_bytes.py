"""When bytes left by an interface, as the system counts them."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from pathlib import Path
from typing import Final

from tests.e2e import sockets
from tests.e2e.netns import Namespace

POLL_S: Final = 0.003
SENT: Final = 8
"""The column of sent bytes in /proc/net/dev, of those behind the name."""


class SentBytes:
    """What has left by an interface at any time since this began."""

    def __init__(self, namespace: Namespace, interface: str) -> None:
        self._line = f"{interface}:"
        devices = Path("/proc/thread-self/net/dev")
        self._devices = sockets.within(namespace, devices.open)
        self._seen: list[tuple[float, int]] = []
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> SentBytes:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()
        self._devices.close()

    @property
    def seconds(self) -> float:
        """That have been seen."""
        return self._seen[-1][0] - self._seen[0][0] if self._seen else 0.0

    def most_within(self, seconds: float, until: float) -> int:
        """Bytes that left in any such time before `until`."""
        before = self._seen[: bisect_left(self._seen, (until, 0))]
        return max(
            sent - before[bisect_left(before, (moment - seconds, 0))][1] for moment, sent in before
        )

    def since(self, moment: float) -> tuple[float, int]:
        """After how many seconds the last bytes left, and how many have left from then on."""
        after = self._seen[bisect_left(self._seen, (moment, 0)) :]
        (_, first), (_, last) = after[0], after[-1]
        ended = next(when for when, sent in after if sent == last)
        return ended - moment, last - first

    def _watch(self) -> None:
        while not self._ends.wait(POLL_S):
            self._devices.seek(0)
            [line] = (each for each in self._devices if each.split()[0] == self._line)
            self._seen.append((time.monotonic(), int(line.split()[1 + SENT])))
