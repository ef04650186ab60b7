"""Answers of a router, and what `top` makes of them."""

from __future__ import annotations

from typing import Any, Final

from router.cli.top.model import Model, Snapshot, View

Answer = dict[str, Any]
HOSTILE: Final = "\x1b[2J\x1b]0;taken\x07\u202e"
"""Clears a terminal, names its window, and turns the direction of writing."""


def policy(
    interface: str | None = "eth0", out: int = 0, in_: int | None = 0, **more: Any
) -> Answer:
    return {
        **{"state": "up", "interface": interface, "flows": 0, "applies": "home"},
        **{"packets_out": out // 100, "bytes_out": out, "bytes_in": in_, "why_down": None},
        **{"packets_in": None if in_ is None else in_ // 100, "path": None, "why_relayed": None},
        **more,
    }


def rule(index: int, packets: int = 0, text: str = "", **more: Any) -> Answer:
    text = text or f'{{cidr: "192.0.2.{index}", policy: home}}'
    return {
        "index": index,
        "line": 9 + index,
        "policy": "home",
        "packets": packets,
        "text": text,
    } | more


def status(
    uptime: float, policies: Answer, rules: list[Answer] | None = None, **more: Any
) -> Answer:
    return {
        **{"pid": 4711, "uptime_s": uptime, "rules_file": "/etc/tunrouter/rules.yaml"},
        **{"tun": "tun11", "policies": policies, "rules": rules or [], "drops": {}},
        **{"default": {"line": None, "policy": "bypass", "flows": 0, "packets": 0}},
        **more,
    }


def flow(host: int, protocol: str = "tcp", out: int | None = 0, **more: Any) -> Answer:
    """To 198.51.100.HOST."""
    return {
        **{"protocol": protocol, "source": "10.1.0.2", "source_port": 40000 + host},
        **{"destination": f"198.51.100.{host}", "destination_port": 443, "policy": "home"},
        **{"rule": 1, "interface": "eth0", "outside": None, "outside_port": None},
        **{"state": "relayed", "age_s": 5.0, "idle_s": 0.1, "packets_out": out, "bytes_out": out},
        **{"packets_in": 0, "bytes_in": 0, "path": "relayed"},
        **more,
    }


def views(*snapshots: tuple[Answer, list[Answer]]) -> list[View]:
    """Of one model, by the clock of the router."""
    model = Model()
    return [
        model.take(Snapshot(answer["uptime_s"], answer, flows, [])) for answer, flows in snapshots
    ]
