"""A router that answers the same each time, for pictures of the page: a laptop at home, with the
VPN of an office, a second one that is down, and a proxy."""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final

from router.control.web.history import INTERVAL, SAMPLES, History

RATES: Final[Mapping[str, tuple[int, int]]] = {
    "home": (160_000, 1_900_000),
    "office": (420_000, 730_000),
    "lab": (0, 0),
    "proxy": (24_000, 310_000),
    "reply": (84, 84),
    "drop": (450, 0),
    "reject": (120, 0),
    "bypass": (0, 0),
}
"""Bytes a second, out and in."""
INTERFACES: Final = {"home": "wlan0", "office": "wg0", "lab": "tun5", "proxy": "wlan0"}
SERVERS: Final = {"proxy": "192.0.2.1:1080"}
RULES: Final = (
    ("office", 48_211, '{cidr: [10.0.0.0/8, "fd00:10::/32"], policy: office}'),
    ("home", 3_120, "{file: lists/lan.txt, policy: home}"),
    ("lab", 0, "{cidr: 198.18.0.0/15, policy: lab}"),
    (
        "proxy",
        9_084,
        "{cidr: 203.0.113.0/24, protocol: tcp, port: [443, 8000-8100], policy: proxy}",
    ),
    ("reply", 64, "{cidr: 192.0.2.53, protocol: icmp, policy: reply}"),
    ("drop", 1_310, "{file: lists/trackers.txt, policy: drop}"),
    ("reject", 211, "{cidr: 198.51.100.128/25, policy: reject}"),
    ("office", 0, '{cidr: "2001:db8:77::/48", policy: office}'),
    ("home", 99_830, '{cidr: [0.0.0.0/0, "::/0"], policy: home}'),
)
DROPS: Final = {"drop": 1310, "rejected": 211, "multicast": 96, "hop-limit": 12, "no-binding": 4}
FLOWS: Final = (
    ("tcp", "192.168.1.23", 51844, "198.51.100.20", 443, "home", 9, "wlan0", 48.2, 12.4),
    ("tcp", "10.8.0.2", 40312, "10.20.0.8", 22, "office", 1, "wg0", 3.1, 31.0),
    ("tcp", "fd08::2", 44120, "fd00:10::25", 993, "office", 1, "wg0", 0.6, 33.4),
    ("tcp", "192.168.7.1", 39220, "203.0.113.80", 443, "proxy", 4, "wlan0", 7.4, 58.1),
    ("udp", "192.168.1.23", 36011, "198.51.100.53", 53, "home", 9, "wlan0", 0.0, None),
    ("udp", "10.1.0.7", 51111, "198.51.100.99", 443, "home", 9, "wlan0", 1.9, None),
    ("icmp", "10.8.0.2", 4711, "10.20.0.8", 4711, "office", 1, "wg0", 0.0, None),
    ("tcp", "10.1.0.7", 50200, "10.20.3.1", 5432, "office", 1, "wg0", 0.2, 31.7),
)
EVENTS: Final[tuple[tuple[int, dict[str, Any]], ...]] = (
    (3400, {"event": "policy", "policy": "office", "state": "up", "interface": "wg0"}),
    (2100, {"event": "reload", "reloaded": True, "summary": "reloaded: 9 rules; flows kept: 41"}),
    (
        1500,
        {
            **{"event": "policy", "policy": "lab", "state": "down", "applies": "reject"},
            **{"interface": None, "why": "there is no interface tun5"},
        },
    ),
    (
        620,
        {
            "event": "conflict",
            "what": "another program has removed what is ours; restored: 10.0.0.0/8",
        },
    ),
    (
        90,
        {"event": "reload", "reloaded": False, "summary": "not reloaded: the former rules go on"},
    ),
)
EXPLANATION: Final = """\
10.20.0.8
  rule     1, /etc/tunrouter/rules.yaml:12: {cidr: [10.0.0.0/8, "fd00:10::/32"], policy: office}
  policy   office: up
  action   forward: by wg0 from 10.8.0.2, direct
  kernel   sends it to the TUN, by our route 10.0.0.0/8"""


class SampleAnswers:
    """See router.control.web.answers."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    async def status(self, age: float = 0.0) -> dict[str, Any]:
        seconds = 93_784 + time.monotonic() - self._began
        return {
            "pid": 4711,
            "uptime_s": seconds,
            "rules_file": "/etc/tunrouter/rules.yaml",
            "tun": "tun11",
            "policies": {name: _policy(name, seconds) for name in RATES},
            "default": {"line": 24, "policy": "bypass", "flows": 0, "packets": 0},
            "rules": [
                {
                    **{"index": place, "line": 11 + place, "policy": policy, "packets": packets},
                    **{"flows": sum(flow[6] == place for flow in FLOWS), "text": text},
                }
                for place, (policy, packets, text) in enumerate(RULES, start=1)
            ],
            "drops": DROPS,
            "flows": {"icmp": 1, "udp": 2, "tcp": 5},
        }

    async def flows(self, age: float = 0.0) -> dict[str, Any]:
        return {"flows": [_flow(*flow) for flow in FLOWS], "unread": []}

    async def explain(self, question: Mapping[str, Any]) -> dict[str, Any]:
        return {"text": EXPLANATION, "answers": []}

    async def events(self, reached: Callable[[], None]) -> AsyncIterator[dict[str, Any]]:
        reached()
        for ago, event in EVENTS:
            yield {"time": time.time() - ago, **event}
        await asyncio.Event().wait()


def sample_history() -> History:
    """An hour."""
    history, chance = History(), random.Random(7)
    sums = {name: [0.0, 0.0] for name in RATES}
    for place in range(SAMPLES):
        for name, rates in RATES.items():
            for way, rate in enumerate(rates):
                wave = 0.55 + 0.35 * math.sin(place / 23 + len(name)) + chance.uniform(-0.12, 0.12)
                burst = 2.2 if 180 < place < 215 and name == "office" else 1
                sums[name][way] += INTERVAL * rate * max(0.02, wave) * burst
        policies = {
            name: {"bytes_out": int(out), "bytes_in": int(in_)} for name, (out, in_) in sums.items()
        }
        now = time.time() - (SAMPLES - place) * INTERVAL
        status = {"pid": 4710, "policies": policies}
        history.add(now, None if 90 < place < 100 else status)
    return history


def _policy(name: str, seconds: float) -> dict[str, Any]:
    out, in_ = (int(rate * seconds) for rate in RATES[name])
    is_up = name != "lab"
    return {
        "state": "up" if is_up else "down",
        "interface": INTERFACES.get(name),
        "server": SERVERS.get(name),
        **{"packets_out": out // 300, "bytes_out": out, "packets_in": in_ // 900, "bytes_in": in_},
        "flows": sum(flow[5] == name for flow in FLOWS),
        "applies": name if is_up else "reject",
        "why_down": None if is_up else "there is no interface tun5",
    }


def _flow(
    *flow: Any,
) -> dict[str, Any]:
    protocol, source, source_port, destination, port, policy, rule, interface, size, rtt = flow
    is_relayed = source == "10.1.0.7" or policy == "proxy"
    is_counted = is_relayed or protocol == "tcp"
    state = "established" if protocol == "tcp" else "answered" if is_relayed else "sent"
    found = {
        **{"protocol": protocol, "source": source, "source_port": source_port},
        **{"destination": destination, "destination_port": port, "policy": policy, "rule": rule},
        **{"interface": interface, "outside": None, "outside_port": None, "state": state},
        **{"age_s": 63.0 + 100 * size, "idle_s": 0.4},
        "packets_out": int(size * 900) + 2 if is_counted else None,
        "bytes_out": int(size * 1e5) + 168 if is_counted else None,
        "packets_in": int(size * 900) + 2 if is_counted else None,
        "bytes_in": int(size * 1e6) + 168 if is_counted else None,
        "path": "relayed" if is_relayed else "direct",
    }
    return found if rtt is None else {**found, "rtt_ms": rtt}
