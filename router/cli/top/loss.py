"""How much of what a policy sends is lost, as far as its flows tell; nothing is sent to find out.

TCP     segments that were sent again, out of those with data; a request to connect that was sent
        again counts as one segment. What is lost on the way in is not seen here.
ICMP    queries without an answer, out of those that were sent up to the snapshot before. Those on
        their way are no losses: of two snapshots the one counts that has fewer without an answer,
        and losses do not become fewer.

UDP tells nothing. Always true: what was lost more than WINDOW seconds ago does not count, nor what
was before the first snapshot.

Must not know: clocks, sockets. Time is an argument, in seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Mapping
from typing import Any, Final, NamedTuple

WINDOW: Final = 60.0

Answer = Mapping[str, Any]
Key = tuple[Hashable, ...]


class Counts(NamedTuple):
    sent: int
    lost: int


class _Seen(NamedTuple):
    """Of a flow at the snapshot before. counts: None where they cannot be compared yet."""

    packets_out: int
    unanswered: int
    counts: Counts | None


NEW: Final = _Seen(0, 0, Counts(0, 0))


class Loss:
    """By policy."""

    def __init__(self) -> None:
        self._seen: dict[Key, _Seen] | None = None
        self._recent: deque[tuple[float, dict[str, Counts]]] = deque()

    def take(self, now: float, flows: Mapping[Key, Answer]) -> None:
        """Count a further snapshot of all flows, by what tells them apart."""
        seen: dict[Key, _Seen] = {}
        found: dict[str, Counts] = {}
        for key, flow in flows.items():
            before = _Seen(0, 0, None) if self._seen is None else self._seen.get(key, NEW)
            counts = _counts(flow, before)
            if counts is None:
                continue
            is_first = self._seen is None and flow["protocol"] == "icmp"
            seen[key] = _Seen(
                flow["packets_out"] or 0, _unanswered(flow), None if is_first else counts
            )
            if before.counts is not None and counts.sent >= before.counts.sent:
                sent, lost = found.get(flow["policy"], Counts(0, 0))
                found[flow["policy"]] = Counts(
                    sent + counts.sent - before.counts.sent,
                    lost + counts.lost - before.counts.lost,
                )
        self._seen = seen
        self._recent.append((now, found))
        while self._recent[0][0] < now - WINDOW:
            self._recent.popleft()

    def of(self, policy: str) -> float | None:
        """From 0 to 1; None where nothing was sent that would tell."""
        counts = [found[policy] for _, found in self._recent if policy in found]
        sent, lost = (sum(some) for some in zip(*counts, strict=True)) if counts else (0, 0)
        return min(1.0, max(0, lost) / sent) if sent > 0 else None


def _counts(flow: Answer, before: _Seen) -> Counts | None:
    """Since the flow began; None where it tells nothing."""
    if flow["protocol"] == "icmp":
        return Counts(before.packets_out, min(before.unanswered, _unanswered(flow)))
    if "segments_out" in flow:
        again = flow["segments_resent"]
        return Counts(max(flow["segments_out"], again), again)
    return None


def _unanswered(flow: Answer) -> int:
    """Packets; a query may have several answers."""
    return max(0, (flow["packets_out"] or 0) - (flow["packets_in"] or 0))
