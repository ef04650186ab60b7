"""The answer to `flows`: the live flows of both paths, as JSON.

docs/flows.md describes each member.

Always true: a piece is of one part of what the engine reports, some tens of flows, however many
there are; what cannot be listed is named in `unread`, and the rest is complete.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, Final, Protocol

from router.config.model import Config
from router.config.spelling import nearest
from router.engine.direct.connections import direct_flows
from router.engine.forwarder import Forwarder
from router.engine.relayed_flows import relayed_flows
from router.flows.report import NAMES, PROTOCOLS, FlowFilter, FlowReport
from router.outbound.all import Outbounds
from router.platform.base.facts import Facts
from router.platform.reason import reason
from router.wire import ip

MILLISECONDS: Final = 1000


class BadFilterError(ValueError):
    """The message names the value and the remedy."""


class HasFacts(Protocol):
    """See router.platform.base.system."""

    @property
    def facts(self) -> Facts: ...


class HasTime(Protocol):
    """See router.engine.loop."""

    now: float


class Running(Protocol):
    """What the answer is read from; see router.engine.router."""

    @property
    def loop(self) -> HasTime: ...

    @property
    def system(self) -> HasFacts: ...

    @property
    def config(self) -> Config: ...

    @property
    def outbounds(self) -> Outbounds: ...

    @property
    def forwarder(self) -> Forwarder: ...


def flow_filter(request: Mapping[str, Any], config: Config) -> FlowFilter:
    """By the members `policy`, `rule` and `protocol` of a request. Raises BadFilterError."""
    policy, rule, protocol = (request.get(name) for name in ("policy", "rule", "protocol"))
    _refuse_unknown("policy", policy, config.policies)
    _refuse_unknown("protocol", protocol, NAMES)
    last = len(config.rules)
    is_number = isinstance(rule, int) and not isinstance(rule, bool)
    if rule is not None and not (is_number and 0 <= int(rule) <= last):
        known = f"the rules are 1 to {last}" if last else "there are no rules"
        raise BadFilterError(f"there is no rule {json.dumps(rule)}: {known}; 0 is the default")
    return FlowFilter(policy, rule, protocol)


def flows(router: Running, wanted: FlowFilter) -> Iterator[bytes]:
    """One JSON object, in pieces."""
    yield b'{"flows": ['
    unread: list[str] = []
    separator = b""
    parts = chain(
        relayed_flows(router.forwarder.carriers, wanted, lambda: router.loop.now),
        _direct(router, wanted, unread),
    )
    for part in parts:
        items = json.dumps([as_json(report) for report in part]).encode()[1:-1]
        yield separator + items if items else b""
        separator = separator or (b", " if items else b"")
    yield b'], "unread": %b}\n' % json.dumps(unread).encode()


def as_json(report: FlowReport) -> dict[str, Any]:
    """The members that scripts rely on, and then some more."""
    members: dict[str, Any] = {
        "protocol": PROTOCOLS[report.protocol],
        "source": ip.format_address(report.source),
        "source_port": report.source_port,
        "destination": ip.format_address(report.destination),
        "destination_port": report.destination_port,
        "policy": report.policy,
        "rule": report.rule or None,
        "interface": report.interface,
        "outside": None if report.outside is None else ip.format_address(report.outside),
        "outside_port": report.outside_port,
        "state": report.state,
        "age_s": _rounded(report.age),
        "idle_s": _rounded(report.idle),
        "packets_out": report.packets_out,
        "bytes_out": report.bytes_out,
        "packets_in": report.packets_in,
        "bytes_in": report.bytes_in,
        "path": report.path,
    }
    if report.round_trip is not None:
        members["rtt_ms"] = _rounded(report.round_trip * MILLISECONDS)
    if report.segments_out is not None:
        members["segments_out"] = report.segments_out
        members["segments_resent"] = report.segments_resent
    return members


def _direct(router: Running, wanted: FlowFilter, unread: list[str]) -> Iterator[list[FlowReport]]:
    """A system that lists no connections is noted."""
    try:
        yield from direct_flows(
            *(router.system.facts, router.forwarder, router.outbounds, wanted, router.loop.now)
        )
    except OSError as error:
        unread.append(f"connections of the direct path: {reason(error)}")


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _refuse_unknown(what: str, value: object, known: Iterable[str]) -> None:
    """Raises BadFilterError."""
    names = list(known)
    if value is None or (isinstance(value, str) and value in names):
        return
    close = nearest(value, names) if isinstance(value, str) else None
    hint = f"did you mean {json.dumps(close)}?" if close else f"there are {', '.join(names)}"
    raise BadFilterError(f"there is no {what} {json.dumps(value)}: {hint}")
