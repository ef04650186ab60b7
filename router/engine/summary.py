"""A run in one line: what it has forwarded, and its state."""

from __future__ import annotations

from typing import Final

from router.config.model import PolicyType
from router.engine.forwarder import Forwarder
from router.flows.drops import Drop
from router.outbound.all import Outbounds

ANSWERED_HERE: Final = frozenset({PolicyType.REPLY, PolicyType.DROP, PolicyType.REJECT})


def summary(forwarder: Forwarder, answers: int) -> str:
    """What was forwarded and what was not, as `name=number` pairs. answers: those that the system
    has counted."""
    carried = [tally for tally in forwarder.tallies if tally.policy not in ANSWERED_HERE]
    counts = {
        "packets-out": sum(tally.packets_out for tally in carried),
        "packets-in": answers
        + sum(tally.packets_in for tally in carried if not tally.is_counted_outside),
        "replies": forwarder.refusals.replies,
        Drop.LOOP.value: 0,
        **forwarder.drops.nonzero(),
    }
    return " ".join(f"{name}={number}" for name, number in counts.items())


def state(routes: int, tun: str, outbounds: Outbounds) -> str:
    """How many routes there are, and which policies are up and down."""
    parts = [f"{routes} routes by {tun}"]
    by_policy = outbounds.by_policy.items()
    for word, names in (
        ("up", [name for name, outbound in by_policy if outbound.up]),
        ("down", [name for name, outbound in by_policy if not outbound.up]),
    ):
        if names:
            parts.append(f"{word}: {', '.join(names)}")
    return "; ".join(parts)
