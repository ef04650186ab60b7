"""The answer to `status`: what the running router is doing, as JSON.

docs/status.md describes each member.

Always true: one pass over the rules makes the sums for the policies too, so that rules, default and
policies agree; a piece costs no more than RULES_AT_ONCE rules, however many there are.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from router.config.model import Config, Policy, Rule
from router.flows.drops import Drops
from router.flows.tally import Tallies, Tally
from router.outbound.all import Outbounds
from router.policy.resolve import effective

RULES_AT_ONCE: Final = 100
"""A quarter of a millisecond's worth."""


class Counted(Protocol):
    """What carries flows: see router.engine.carriers."""

    def counts(self) -> Mapping[str, int]: ...


class Forwarding(Protocol):
    """What counts: see router.engine.forwarder."""

    @property
    def drops(self) -> Drops: ...

    @property
    def tallies(self) -> Tallies: ...

    @property
    def carriers(self) -> Counted: ...


class CountsAnswers(Protocol):
    """What the system counts; see router.engine.direct.answers."""

    def of(self, policy: str) -> tuple[int, int]: ...


class Named(Protocol):
    """A TUN."""

    name: str


class Obstacles(Protocol):
    """See router.engine.direct.obstacles."""

    def why_relayed(self, policy: Policy) -> str | None: ...


class Running(Protocol):
    """What the answer is read from; see router.engine.router. uptime: in seconds."""

    @property
    def config(self) -> Config: ...

    @property
    def tun(self) -> Named: ...

    @property
    def uptime(self) -> float: ...

    @property
    def outbounds(self) -> Outbounds: ...

    @property
    def obstacles(self) -> Obstacles: ...

    @property
    def forwarder(self) -> Forwarding: ...

    @property
    def answers(self) -> CountsAnswers: ...


def status(router: Running) -> Iterator[bytes]:
    """One JSON object, in pieces."""
    config, tallies = router.config, router.forwarder.tallies
    by_policy = Totals(config.policies)
    by_policy.sum(tallies.former)
    head = {
        "pid": os.getpid(),
        "uptime_s": round(router.uptime, 3),
        "rules_file": str(Path(config.file).absolute()),
        "tun": router.tun.name,
    }
    yield b"{%b, " % _inside(head)
    yield b'"rules": ['
    for start in range(0, len(config.rules), RULES_AT_ONCE):
        rules = config.rules[start : start + RULES_AT_ONCE]
        items = [_rule(rule, by_policy.sum(tallies.of_rule(rule.index))) for rule in rules]
        yield (b", " if start else b"") + _inside(items)
    tail = {
        "default": _default(config, by_policy.sum(tallies.of_rule(0))),
        "policies": {
            name: _policy(router, policy, by_policy) for name, policy in config.policies.items()
        },
        "drops": router.forwarder.drops.nonzero(),
        "flows": router.forwarder.carriers.counts(),
    }
    yield b"], %b}\n" % _inside(tail)


def _inside(value: Mapping[str, Any] | Sequence[Any]) -> bytes:
    """JSON without the outermost brackets."""
    return json.dumps(value).encode()[1:-1]


class Totals:
    """Sums of tallies by policy."""

    def __init__(self, policies: Iterable[str]) -> None:
        self.all = {name: Tally(name, 0) for name in policies}
        """Everything of a policy."""
        self.outside = {name: Tally(name, 0) for name in policies}
        """What is counted by the system as well."""

    def sum(self, tallies: Iterable[Tally]) -> Tally:
        """The sum, which is added to those of the policies as well."""
        total = Tally("", 0)
        for tally in tallies:
            total.add(tally)
            self.all.setdefault(tally.policy, Tally(tally.policy, 0)).add(tally)
            if tally.is_counted_outside:
                self.outside.setdefault(tally.policy, Tally(tally.policy, 0)).add(tally)
        return total


def _rule(rule: Rule, total: Tally) -> dict[str, Any]:
    return {
        "index": rule.index,
        "line": rule.place.line,
        "policy": rule.policy,
        "flows": total.flows,
        "packets": total.packets_out + total.packets_in,
        "text": rule.text,
    }


def _default(config: Config, total: Tally) -> dict[str, Any]:
    """Not one of the rules: it has no index, and a line only where it is written down."""
    return {
        "line": config.default_place.line if config.default_place else None,
        "policy": config.default,
        "flows": total.flows,
        "packets": total.packets_out + total.packets_in,
    }


def _policy(router: Running, policy: Policy, totals: Totals) -> dict[str, Any]:
    total, outside = totals.all[policy.name], totals.outside[policy.name]
    packets, size = router.answers.of(policy.name)
    is_known = not total.misses_answers
    up = router.outbounds.is_up(policy.name)
    outbound = router.outbounds.by_policy.get(policy.name)
    leaves_by = outbound.leaves_by if outbound is not None and up else policy.interface
    return {
        "state": "up" if up else "down",
        "interface": leaves_by,
        "packets_out": total.packets_out,
        "bytes_out": total.bytes_out,
        "packets_in": total.packets_in - outside.packets_in + packets if is_known else None,
        "bytes_in": total.bytes_in - outside.bytes_in + size if is_known else None,
        "flows": total.flows,
        "applies": effective(router.config, policy.name, router.outbounds.is_up),
        "why_down": outbound.why_down() if outbound is not None and not up else None,
        "server": str(policy.proxy) if policy.proxy is not None else None,
        "found": list(outbound.found) if outbound is not None else [],
        **_path(router, policy),
    }


def _path(router: Running, policy: Policy) -> dict[str, Any]:
    """How packets of this machine's programs get to the outbound."""
    if policy.interface is None or not router.outbounds.is_up(policy.name):
        return {"path": None, "why_relayed": None}
    why = router.obstacles.why_relayed(policy)
    return {"path": "direct" if why is None else "relayed", "why_relayed": why}
