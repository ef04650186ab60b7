"""Packets that wait for an answer of another process, about which nothing can be decided before.

Always true: nothing else waits for that answer; packets with the same key go on in the order in
which they came; what is held is bounded in bytes, in keys and in time.

Must not know: what is asked, and what becomes of a packet.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final, Generic, Protocol, TypeVar

from router.engine.observer.hook import Observing
from router.outbound.direct import NotOpenYet
from router.wire import ip

PATIENCE: Final = 0.1
"""Seconds. The guard answers in a thousandth of them, unless it is busy or stopped."""
MOST_KEYS: Final = 128
MOST_BYTES: Final = 1 << 20
OVERHEAD: Final = 512
"""Bytes of memory that a packet takes beside its own."""

AnswerT = TypeVar("AnswerT")
Then = Callable[[ip.Packet, AnswerT, float], None]
"""Goes on with a packet, at a time."""


class HasTimers(Protocol):
    """See router.engine.loop."""

    now: float

    def call_later(self, delay: float, callback: Callable[[], None]) -> None: ...


class HeldPackets(Generic[AnswerT]):
    """Those that wait for answers of one kind.

    none: what stands for an answer that does not come in time. observer: the present one; it
    gets what waits and what goes on. not_open: called with a packet that could not go on, since a
    sender is not open yet.
    """

    not_open: Callable[[ip.Packet, NotOpenYet], None]

    def __init__(self, loop: HasTimers, none: AnswerT) -> None:
        self.observer: Callable[[], Observing | None] = lambda: None
        self._loop = loop
        self._none = none
        self._held: OrderedDict[Hashable, tuple[float, list[tuple[ip.Packet, Then[AnswerT]]]]] = (
            OrderedDict()
        )
        self._bytes = 0
        self._has_timer = False

    def has(self, key: Hashable) -> bool:
        """Whether packets with a key wait: then their answer is on its way."""
        return key in self._held

    def add(self, key: Hashable, packet: ip.Packet, then: Then[AnswerT]) -> bool:
        """Keep a packet until `answer`; False where there is no room."""
        size = _size(packet)
        is_new = key not in self._held
        if self._bytes + size > MOST_BYTES or (is_new and len(self._held) >= MOST_KEYS):
            return False
        self._bytes += size
        if is_new:
            self._held[key] = (self._loop.now, [])
            self._set_timer(PATIENCE)
        self._held[key][1].append((packet, then))
        observer = self.observer()
        if observer is not None:
            observer.postpone()
        return True

    def answer(self, key: Hashable, answer: AnswerT) -> None:
        """Go on with the packets of a key, if some still wait."""
        _, packets = self._held.pop(key, (0.0, ()))
        if not packets:
            return
        self._bytes -= sum(_size(packet) for packet, _ in packets)
        observer = self.observer()
        for packet, then in packets:
            if observer is not None:
                observer.resume(packet.data)
            try:
                then(packet, answer, self._loop.now)
            except NotOpenYet as missing:
                self.not_open(packet, missing)
        if observer is not None:
            observer.settle(self._loop.now)

    def _set_timer(self, delay: float) -> None:
        if not self._has_timer:
            self._has_timer = True
            self._loop.call_later(delay, self._give_up)

    def _give_up(self) -> None:
        """Those whose answer has not come in time."""
        self._has_timer = False
        now = self._loop.now
        for key, (since, _) in list(self._held.items()):
            if since + PATIENCE > now:
                self._set_timer(since + PATIENCE - now)
                return
            self.answer(key, self._none)


def _size(packet: ip.Packet) -> int:
    return len(packet.data) + OVERHEAD
