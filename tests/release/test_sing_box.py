"""What is made of configurations of sing-box decides as sing-box itself, and so does the oracle of
the unit tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.testbed import Testbed
from tests.release.sing_box import Decision, SingBox
from tests.unit.config.foreign.imports import imported, loaded
from tests.unit.config.foreign.oracle_sing_box import METHODS, SingBoxOracle
from tests.unit.config.foreign.sampling import connections
from tests.unit.config.foreign.test_decisions import CONFIGURATIONS, decider

NUMBER = 1_000


@pytest.mark.parametrize("path", sorted(CONFIGURATIONS.glob("*.json")), ids=lambda path: path.stem)
def test_decisions_are_those_of_the_program(bed: Testbed, tmp_path: Path, path: Path) -> None:
    oracle = SingBoxOracle(path)
    _, text = imported("sing-box", path)
    decide = decider(loaded(tmp_path, text))
    lists = sorted(each.read_text(encoding="utf-8") for each in (path.parent / "lists").iterdir())
    asked = connections(NUMBER, path.read_text(encoding="utf-8"), *lists)
    for connection, decision in SingBox(bed.far, tmp_path, path).decide(asked).items():
        expected = _outcome(oracle, decision)
        assert (decide(connection), oracle.decide(connection)) == (expected, expected), connection


def _outcome(oracle: SingBoxOracle, decision: Decision) -> str:
    action, what = decision
    return METHODS[what] if action == "reject" else oracle.outcome(what or oracle.final)
