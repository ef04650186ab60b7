"""A system that carries segments, in memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from router.platform.base.flow_offload import Forwarding, Passed, Translation


class MemoryOffload:
    """See FlowOffload. flows: what is carried, or will be, by number; opened: of those that are
    forwarded, how many packets were left to the router at `open`, or None until then; packets_left:
    by now, of any flow; slowed: until when senders are slowed down, by number. counts: of any
    flow."""

    def __init__(self, most: int = 2) -> None:
        self.most = most
        self.opened: dict[int, int | None] = {}
        self.packets_left = 1
        self.slowed: dict[int, float] = {}
        self._replies: list[tuple[int, Callable[[int], None]]] = []
        self.flows: dict[int, Sequence[Translation | Forwarding]] = {}
        self.touched: list[float] = []
        self.counts = [Passed(0.0, 0, 0)] * 2
        self.is_closed = False

    def begin(
        self,
        parts: Sequence[Translation | Forwarding],
        now: float,
        added: Callable[[int], None] | None = None,
    ) -> int | None:
        if len(self.flows) >= self.most:
            return None
        number = min(set(range(self.most)) - self.flows.keys())
        self.flows[number] = parts
        self.counts = [Passed(now, 0, 0)] * 2
        if added is not None:
            self.opened[number] = None
            self._replies.append((number, added))
        return number

    def reply(self) -> None:
        """The system has all that was begun."""
        replies, self._replies = self._replies, []
        for number, added in replies:
            if number in self.opened:
                added(number)

    def left(self, number: int) -> int:
        assert number in self.opened
        return self.packets_left

    def slow_down(self, number: int, until: float) -> None:
        assert number in self.opened
        self.slowed[number] = until

    def open(self, number: int, left: int) -> None:
        assert number in self.opened
        self.opened[number] = left
        self.slowed.pop(number, None)

    def touch(self, number: int, now: float) -> None:
        assert number in self.flows
        self.touched.append(now)

    def passed(self, number: int) -> Sequence[Passed]:
        assert number < self.most
        return self.counts

    def end(self, numbers: Collection[int]) -> None:
        for number in numbers:
            del self.flows[number]
            self.opened.pop(number, None)

    def close(self) -> None:
        self.is_closed = True
