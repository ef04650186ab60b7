"""The lines of `trace`: packets of the running router with the decision about each, as JSON.

The first line says that the trace has begun, and by which TUN; docs/trace.md describes the others.

Always true: records become JSON when the client takes them, AT_ONCE of them at most in a round of
the loop; the trace ends when the client leaves.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Final, Protocol

from router.config.model import Config
from router.config.problems import quoted
from router.config.spelling import nearest
from router.control.follow import Feed, Timers, Wake
from router.control.protocol import lost
from router.engine.observer.trace import Trace
from router.flows.trace.decision import Record
from router.flows.trace.matching import Filter
from router.flows.trace.words import BadFilterError, parse, policies, rules
from router.wire import ip

BETWEEN: Final = 0.2
"""Seconds between two lines about what was left out."""


class Traces(Protocol):
    """See router.engine.observer.observer.Observer."""

    def add(self, trace: Trace) -> None: ...

    def remove(self, trace: Trace) -> None: ...

    def answered_by(self, trace: Trace) -> frozenset[int] | None: ...


def trace_filter(request: Mapping[str, Any], config: Config) -> Filter:
    """By the member `filter` of a request, whose policies and rules have to exist. Raises
    BadFilterError."""
    text = request.get("filter", "")
    if not isinstance(text, str):
        raise BadFilterError(f"filter cannot be {json.dumps(text)}: it is a text, as in tcp")
    tree = parse(text)
    for name in policies(tree):
        if name not in config.policies:
            close = nearest(name, config.policies)
            known = f"did you mean {quoted(close)}?" if close else ", ".join(config.policies)
            raise BadFilterError(f"there is no policy {quoted(name)}: {known}")
    last = len(config.rules)
    for number in rules(tree):
        if number > last:
            raise BadFilterError(
                f"there is no rule {number}: the last one is {last}; 0 is the default"
            )
    return Filter(tree)


def of_trace(traces: Traces, wanted: Filter, tun: str, timers: Timers, wake: Wake) -> Feed:
    """Lines until the client leaves. tun: its name."""
    trace = Trace(wanted, wake)
    traces.add(trace)
    due = timers.now
    answered_by = traces.answered_by(trace)
    try:
        yield _as_line({"tracing": tun, "answered_by": _as_list(answered_by)})
        while True:
            lines = []
            if trace.has_changed:
                trace.has_changed, before = False, answered_by
                answered_by = traces.answered_by(trace)
                if answered_by != before:
                    lines.append(_as_line({"answered_by": _as_list(answered_by)}))
            lines += [_line(each) for each in trace.take()]
            if trace.left_out and timers.now >= due:
                due = timers.now + BETWEEN
                lines.append(lost(trace.left_out))
                trace.left_out = 0
            elif trace.left_out and not lines:
                timers.call_later(due - timers.now, wake)
            yield b"".join(lines) or None
    finally:
        traces.remove(trace)


def _as_list(interfaces: frozenset[int] | None) -> list[int] | None:
    return None if interfaces is None else sorted(interfaces)


def _line(record: Record) -> bytes:
    decision = record.decision
    outside = decision.outside
    members = {
        "time": round(record.time, 6),
        "direction": record.direction,
        "length": record.length,
        "verdict": decision.verdict,
        "reason": decision.reason,
        "rule": decision.rule or None,
        "policy": decision.policy,
        "interface": decision.interface,
        "path": decision.path,
        "outside": None if outside is None else ip.format_address(outside),
        "outside_port": decision.outside_port,
        "packet": b64encode(record.data).decode(),
    }
    return _as_line(members)


def _as_line(members: Mapping[str, Any]) -> bytes:
    return json.dumps(members).encode() + b"\n"
