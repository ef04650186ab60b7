"""What `top` shows, computed from one answer after another.

Always true: a rate is a difference of two counters of the router, divided by the time between them;
nothing is shown of before the first snapshot, and a router that has another pid, or less uptime,
begins anew.

Must not know: sockets, clocks, terminals, how anything is drawn. Time comes with the snapshots.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Hashable, Iterable, Mapping, Sequence
from statistics import median
from typing import Any, Final, NamedTuple

from router.cli.top.loss import Loss

KEPT: Final = 240
"""Rates of each policy that are kept: as many as a wide terminal can show."""
FRESH: Final = 10.0
"""Seconds since its last packet, up to which a flow's round trip is one of its way out."""

Answer = Mapping[str, Any]
Key = tuple[Hashable, ...]


class Snapshot(NamedTuple):
    """at: seconds of the client's clock, when the flows were asked for. unread: what cannot be
    listed."""

    at: float
    status: Answer
    flows: Sequence[Answer]
    unread: Sequence[str]


class Rates(NamedTuple):
    """Bytes a second; None where that is not known."""

    out: float | None
    in_: float | None

    @property
    def both(self) -> float:
        return (self.out or 0.0) + (self.in_ or 0.0)


UNKNOWN: Final = Rates(None, None)


class PolicyRow(NamedTuple):
    """flows: of those that are listed. history: the oldest first. round_trip: in milliseconds.
    loss: from 0 to 1."""

    name: str
    policy: Answer
    flows: int
    rates: Rates
    history: Sequence[Rates]
    round_trip: float | None
    loss: float | None

    @property
    def is_up(self) -> bool:
        return bool(self.policy["state"] == "up")


class FlowRow(NamedTuple):
    key: Key
    flow: Answer
    rates: Rates


class RuleRow(NamedTuple):
    """number: the rule's index; 0 for the default. per_second: packets."""

    number: int
    line: int | None
    policy: str
    text: str
    packets: int
    per_second: float


class DropRow(NamedTuple):
    """per_second: packets."""

    reason: str
    packets: int
    per_second: float


class View(NamedTuple):
    """Everything that is drawn. rules: those with packets, and the default
    where it has. former_pid: of a router
    that has stopped, in the first views of the one after it."""

    status: Answer
    policies: Sequence[PolicyRow]
    flows: Sequence[FlowRow]
    rules: Sequence[RuleRow]
    drops: Sequence[DropRow]
    unread: Sequence[str]
    former_pid: int | None


class Model:
    """The state between two snapshots."""

    def __init__(self) -> None:
        self._former_pid: int | None = None
        self._begin()

    def _begin(self) -> None:
        self._last: Snapshot | None = None
        self._flows: dict[Key, Answer] = {}
        self._rules: dict[Key, int] = {}
        self._histories: dict[str, deque[Rates]] = {}
        self._loss = Loss()

    def take(self, snapshot: Snapshot) -> View:
        """The view after a further snapshot. Raises LookupError, TypeError, ValueError or
        AttributeError where it is not what a router of this version answers."""
        last, status = self._last, snapshot.status
        if last is not None and _is_another(last.status, status):
            self._former_pid = last.status["pid"]
            self._begin()
            last = None
        flows = {flow_key(flow): flow for flow in snapshot.flows}
        self._loss.take(snapshot.at, flows)
        view = View(
            status,
            self._policy_rows(last, snapshot),
            self._flow_rows(last, snapshot.at, flows),
            self._rule_rows(last, status),
            _drop_rows(last, status),
            snapshot.unread,
            self._former_pid,
        )
        self._last, self._flows = snapshot, flows
        return view

    def _policy_rows(self, last: Snapshot | None, snapshot: Snapshot) -> list[PolicyRow]:
        policies: Mapping[str, Answer] = snapshot.status["policies"]
        before: Mapping[str, Answer] = {} if last is None else last.status["policies"]
        seconds = _seconds_between(last, snapshot.status)
        trips = _round_trips(snapshot.flows)
        numbers = Counter(flow["policy"] for flow in snapshot.flows)
        rows = []
        for name, policy in policies.items():
            rates = _rates(before.get(name), policy, seconds)
            history = self._histories.setdefault(name, deque(maxlen=KEPT))
            if seconds:
                history.append(rates)
            trip = median(trips[name]) if name in trips else None
            loss = self._loss.of(name)
            rows.append(PolicyRow(name, policy, numbers[name], rates, tuple(history), trip, loss))
        for name in self._histories.keys() - policies.keys():
            del self._histories[name]
        return rows

    def _flow_rows(
        self, last: Snapshot | None, now: float, flows: Mapping[Key, Answer]
    ) -> list[FlowRow]:
        seconds = 0.0 if last is None else now - last.at
        return [
            FlowRow(key, flow, _rates(self._flows.get(key, NONE_YET), flow, seconds))
            for key, flow in flows.items()
        ]

    def _rule_rows(self, last: Snapshot | None, status: Answer) -> list[RuleRow]:
        """A reload moves rules, which keep their counters: so they are found by their text, those
        that have the same in their order."""
        seconds = _seconds_between(last, status)
        counters: dict[Key, int] = {}
        seen: Counter[str] = Counter()
        rows = []
        for rule in (*status["rules"], {**status["default"], "index": 0, "text": "default"}):
            seen[rule["text"]] += 1
            key = rule["text"], seen[rule["text"]], rule["index"] == 0
            packets = counters[key] = rule["packets"]
            per_second = _per_second(self._rules.get(key, packets), packets, seconds)
            if packets:
                ends = rule["index"], rule["line"], rule["policy"], rule["text"]
                rows.append(RuleRow(*ends, packets, per_second))
        self._rules = counters
        return rows


NONE_YET: Final[Answer] = {"bytes_out": 0, "bytes_in": 0}


def flow_key(flow: Answer) -> Key:
    """What tells a flow from others."""
    return (
        flow["protocol"],
        flow["source"],
        flow["source_port"],
        flow["destination"],
        flow["destination_port"],
        flow["path"],
    )


def _drop_rows(last: Snapshot | None, status: Answer) -> list[DropRow]:
    """The most frequent first."""
    seconds = _seconds_between(last, status)
    before: Mapping[str, int] = {} if last is None else last.status["drops"]
    rows = [
        DropRow(reason, packets, _per_second(before.get(reason, 0), packets, seconds))
        for reason, packets in status["drops"].items()
    ]
    return sorted(rows, key=lambda row: (-row.per_second, -row.packets, row.reason))


def _is_another(before: Answer, now: Answer) -> bool:
    return bool(before["pid"] != now["pid"] or before["uptime_s"] > now["uptime_s"])


def _seconds_between(last: Snapshot | None, status: Answer) -> float:
    """By the router's own clock; 0 where there is nothing to compare with."""
    return 0.0 if last is None else float(status["uptime_s"] - last.status["uptime_s"])


def _round_trips(flows: Iterable[Answer]) -> dict[str, list[float]]:
    """By policy, those of flows that have had a packet of late."""
    found: dict[str, list[float]] = {}
    for flow in flows:
        idle = flow["idle_s"]
        if "rtt_ms" in flow and idle is not None and idle <= FRESH:
            found.setdefault(flow["policy"], []).append(flow["rtt_ms"])
    return found


def _rates(before: Answer | None, now: Answer, seconds: float) -> Rates:
    """Of two answers with `bytes_out` and `bytes_in`."""
    if before is None or seconds <= 0:
        return UNKNOWN
    return Rates(
        *(
            None
            if before[name] is None or now[name] is None
            else _per_second(before[name], now[name], seconds)
            for name in ("bytes_out", "bytes_in")
        )
    )


def _per_second(before: int, now: int, seconds: float) -> float:
    """A counter that is less than before has begun anew."""
    if seconds <= 0:
        return 0.0
    return (now - before if now >= before else now) / seconds
