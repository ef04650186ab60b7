"""A few faults at steps of each process and phase; `make faults` tries all of them at every step.

The steps are those that a run reports, so which of them are chosen changes with the code.
"""

from __future__ import annotations

from pathlib import Path

from tests.faults.scenario import opened
from tests.faults.steps import STOP, Case, cases

CHOSEN = 3
"""Runs: each takes about a second and a half on an idle machine."""


def chosen(steps: list[str]) -> list[Case]:
    """Spread over all cases; those that take seconds are left out."""
    quick = [case for case in cases(steps) if case.fault != STOP]
    return [quick[(2 * number + 1) * len(quick) // (2 * CHOSEN)] for number in range(CHOSEN)]


def test_a_fault_leaves_the_network_as_it_was(tmp_path: Path) -> None:
    """See Scenario for what holds after each run."""
    tmp_path.chmod(0o755)
    with opened(tmp_path) as scenario:
        steps = scenario.steps()
        assert {step.split()[0] for step in steps} == {"router", "guard", "undoer"}
        assert {step.split()[1] for step in steps} >= {"start", "traffic", "change", "reload"}
        for case in chosen(steps):
            scenario.run(step=case.step, fault=case.fault)
