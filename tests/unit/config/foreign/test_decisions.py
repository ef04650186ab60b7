"""Ten configurations, of the forms that public ones have: what is made of each decides 1,000
connections as the original's own rules do, one after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest

from router.config.model import Config
from router.policy.match.table import RuleSet
from tests.unit.config.foreign.imports import imported, loaded, outcome
from tests.unit.config.foreign.oracle_clash import ClashOracle
from tests.unit.config.foreign.oracle_sing_box import SingBoxOracle
from tests.unit.config.foreign.oracle_surge import SurgeOracle
from tests.unit.config.foreign.sampling import Connection, connections


class Oracle(Protocol):
    def decide(self, connection: Connection) -> str: ...


CONFIGURATIONS = Path(__file__).with_name("configurations")
ORACLES: dict[str, Callable[[Path], Oracle]] = {
    "clash": ClashOracle,
    "surge": SurgeOracle,
    "sing-box": SingBoxOracle,
}
PROGRAM_OF = {"clash": "clash", "mihomo": "clash", "surge": "surge", "sing": "sing-box"}
PROTOCOLS = {"tcp": 6, "udp": 17}
NUMBER = 1_000
RULES = ("rule", "rules")


def configurations() -> list[Path]:
    return sorted(path for path in CONFIGURATIONS.iterdir() if path.is_file())


def of_lines() -> list[Path]:
    """Those with a rule on each line."""
    return [path for path in configurations() if path.suffix != ".json"]


def decider(config: Config) -> Callable[[Connection], str]:
    rules = RuleSet.build(config)

    def decide(connection: Connection) -> str:
        protocol, port = PROTOCOLS[connection.protocol], connection.port
        address = connection.address
        index = rules.decide(address.version, int(address), protocol, port)
        name = config.rules[index - 1].policy if index else config.default
        return outcome(config.policies[name])

    return decide


def test_there_are_ten() -> None:
    assert len(configurations()) == 10


@pytest.mark.parametrize("path", configurations(), ids=lambda path: path.stem)
def test_decisions_are_those_of_the_original(path: Path, tmp_path: Path) -> None:
    program = PROGRAM_OF[path.stem.split("-")[0]]
    oracle = ORACLES[program](path)
    _, text = imported(program, path)
    decide = decider(loaded(tmp_path, text))
    lists = [each.read_text(encoding="utf-8") for each in (CONFIGURATIONS / "lists").iterdir()]
    seen: Counter[str] = Counter()
    for connection in connections(NUMBER, path.read_text(encoding="utf-8"), *sorted(lists)):
        expected = oracle.decide(connection)
        assert decide(connection) == expected, f"{connection}\n{text}"
        seen[expected] += 1
    assert len(seen) > 2, seen
    assert min(seen.values()) >= 3, f"too few to mean something: {seen}"


@pytest.mark.parametrize("path", configurations(), ids=lambda path: path.stem)
def test_no_password_gets_anywhere(path: Path) -> None:
    program = PROGRAM_OF[path.stem.split("-")[0]]
    found, text = imported(program, path)
    assert "not-for-others" not in text + "".join(map(str, found.notes))


@pytest.mark.parametrize("path", of_lines(), ids=lambda path: path.stem)
def test_every_line_is_taken_over_or_noted(path: Path) -> None:
    found, _ = imported(PROGRAM_OF[path.stem.split("-")[0]], path)
    accounted = {rule.line for rule in found.rules} | {note.line for note in found.notes}
    accounted.add(found.final_line)
    lines = path.read_text(encoding="utf-8").splitlines()
    begin = next(number for number, line in enumerate(lines) if line.lower().strip("[]:") in RULES)
    for number, line in enumerate(lines[begin + 1 :], begin + 2):
        assert number in accounted or ",PASS" in line, f"{path.name}:{number}: {line}"
