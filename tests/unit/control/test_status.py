"""The answer to `status`: the contract's members, sums that agree, pieces that are small."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from router.config.loader import load
from router.config.model import Policy
from router.control.status import RULES_AT_ONCE, status
from router.flows.drops import Drop, Drops
from router.flows.tally import Tallies
from tests.unit.engine.tcp.memory import MemoryTcp
from tests.unit.engine.udp.memory import MemorySystem
from tests.unit.engine.world import MemoryOutbounds

RULES = """
version: 1
policies:
  home: {type: direct, interface: eth0}
  office: {type: vpn, interface: gone, on_down: drop}
rules:
  - {cidr: 198.51.100.0/24, policy: office}
  - {cidr: 203.0.113.0/24, policy: home}
"""
LAST_LINE_OF_RULES = RULES.count("\n")

Answer = dict[str, Any]


class MemoryRouter:
    """See Running."""

    uptime = 12.3456
    tun = SimpleNamespace(name="tun11")

    def __init__(self, directory: Path, rules: str) -> None:
        file = directory / "rules.yaml"
        file.write_text(rules, encoding="utf-8")
        config = load(file).config
        assert config is not None
        self.config = config
        self.outbounds = MemoryOutbounds(config.policies.values(), MemorySystem(), MemoryTcp())
        self.outbounds.by_interface["eth0"].interfaces = ["eth0"]
        self.forwarder = self.carriers = self.answers = self
        self.counted_outside: dict[str, tuple[int, int]] = {}
        self.tallies = Tallies()
        self.drops = Drops()
        self.obstacles = self
        self.obstacle: str | None = None

    def why_relayed(self, _policy: Policy) -> str | None:
        return self.obstacle

    def of(self, policy: str) -> tuple[int, int]:
        return self.counted_outside.get(policy, (0, 0))

    def counts(self) -> dict[str, int]:
        return {"icmp": 1, "udp": 0, "tcp": 4}


def status_of(router: MemoryRouter) -> Answer:
    answer: Answer = json.loads(b"".join(status(router)))
    return answer


def test_the_documented_members(tmp_path: Path) -> None:
    router = MemoryRouter(tmp_path, RULES)
    tally = router.tallies.of("home", 2)
    tally.went_out(84)
    tally.went_out(84)
    tally.came_in(60)
    tally.flows = 5
    router.tallies.of("drop", 1).went_out(1000)
    router.tallies.of("bypass", 0).went_out(40)
    router.drops.count(Drop.POLICY)
    none = {"packets_out": 0, "bytes_out": 0, "packets_in": 0, "bytes_in": 0, "flows": 0}
    no_path = {"path": None, "why_relayed": None}
    no_proxy: Answer = {"server": None, "found": []}
    built_in = {"state": "up", "interface": None, "why_down": None, **no_proxy, **no_path}
    assert status_of(router) == {
        "pid": os.getpid(),
        "uptime_s": 12.346,
        "rules_file": str(tmp_path / "rules.yaml"),
        "tun": "tun11",
        "policies": {
            "home": {
                **{"state": "up", "interface": "eth0", "applies": "home", "flows": 5},
                **{"packets_out": 2, "bytes_out": 168, "packets_in": 1, "bytes_in": 60},
                **{"path": "direct", "why_relayed": None, "why_down": None, **no_proxy},
            },
            "office": {
                **{"state": "down", "interface": "gone", "applies": "drop", **no_path, **none},
                "why_down": "gone is not there",
                **no_proxy,
            },
            "reply": {**built_in, "applies": "reply", **none},
            "drop": {**built_in, "applies": "drop", **none, "packets_out": 1, "bytes_out": 1000},
            "reject": {**built_in, "applies": "reject", **none},
            "bypass": {**built_in, "applies": "bypass", **none, "packets_out": 1, "bytes_out": 40},
        },
        "rules": [
            {
                **{"index": 1, "line": 7, "policy": "office", "flows": 0, "packets": 1},
                "text": "{cidr: 198.51.100.0/24, policy: office}",
            },
            {
                **{"index": 2, "line": 8, "policy": "home", "flows": 5, "packets": 3},
                "text": "{cidr: 203.0.113.0/24, policy: home}",
            },
        ],
        "default": {"line": None, "policy": "bypass", "flows": 0, "packets": 1},
        "drops": {"drop": 1},
        "flows": {"icmp": 1, "udp": 0, "tcp": 4},
    }


def test_why_packets_are_relayed(tmp_path: Path) -> None:
    router = MemoryRouter(tmp_path, RULES)
    router.obstacle = "nftables counts what leaves"
    home = status_of(router)["policies"]["home"]
    assert (home["path"], home["why_relayed"]) == ("relayed", "nftables counts what leaves")


def test_a_default_that_is_written_down(tmp_path: Path) -> None:
    router = MemoryRouter(tmp_path, RULES + "default: home\n")
    router.tallies.of("home", 0).went_out(1)
    default = {"line": LAST_LINE_OF_RULES + 1, "policy": "home", "flows": 0, "packets": 1}
    assert status_of(router)["default"] == default
    assert status_of(router)["policies"]["home"]["packets_out"] == 1


def test_answers_that_the_system_counts(tmp_path: Path) -> None:
    """Those of relayed flows are among them."""
    router = MemoryRouter(tmp_path, RULES)
    router.tallies.of("home", 2).came_in(60)
    router.tallies.of("home", 2, is_counted_outside=True).came_in(84)
    router.counted_outside["home"] = (10, 840)
    answer = status_of(router)
    assert answer["policies"]["home"]["packets_in"] == 1 + 10
    assert answer["policies"]["home"]["bytes_in"] == 60 + 840
    assert answer["rules"][1]["packets"] == 2


def test_a_policy_of_which_answers_are_missed_has_no_count_of_them(tmp_path: Path) -> None:
    router = MemoryRouter(tmp_path, RULES)
    router.tallies.of("home", 2).came_in(60)
    router.tallies.of("home", 1).misses_answers = True
    router.tallies.of("office", 1).came_in(1)
    policies = status_of(router)["policies"]
    assert (policies["home"]["packets_in"], policies["home"]["bytes_in"]) == (None, None)
    assert policies["office"]["packets_in"] == 1


@pytest.mark.parametrize("number", [0, 1, RULES_AT_ONCE, RULES_AT_ONCE + 1, 12_345])
def test_any_number_of_rules_in_small_pieces(tmp_path: Path, number: int) -> None:
    lines = [
        f"  - {{cidr: 10.{n >> 8}.{n & 255}.0/24, policy: home}}\n" for n in range(number)
    ] or [" []\n"]
    router = MemoryRouter(tmp_path, RULES[: RULES.index("rules:")] + "rules:\n" + "".join(lines))
    for rule in range(number):
        router.tallies.of("home", rule + 1).came_in(10)
    pieces = list(status(router))
    answer = json.loads(b"".join(pieces))
    assert [rule["index"] for rule in answer["rules"]] == list(range(1, number + 1))
    assert sum(rule["packets"] for rule in answer["rules"]) == number
    assert answer["policies"]["home"]["packets_in"] == number
    assert max(map(len, pieces)) < 200 * RULES_AT_ONCE


def test_traffic_while_the_answer_is_made(tmp_path: Path) -> None:
    """New tallies are created between two pieces."""
    router = MemoryRouter(tmp_path, RULES)
    pieces = []
    for number, piece in enumerate(status(router)):
        pieces.append(piece)
        router.tallies.of("home", number).went_out(84)
        router.tallies.of("gone since", number).went_out(84)
        router.drops.count(Drop.FILTERED)
    assert json.loads(b"".join(pieces))["tun"] == "tun11"
