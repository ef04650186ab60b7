"""A few faults of a run: each process is killed, and the TUN cannot be opened; `make faults` tries
all of them at every step.

Which step is the middle one changes with the code.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from pathlib import Path

from tests.faults.scenario import opened
from tests.faults.steps import KILL, Case

PROCESSES = ("router", "guard", "undoer")


def chosen(steps: list[str]) -> Iterator[Case]:
    """Each process is killed in the middle of its steps; and the guard has no descriptor left for
    the TUN."""
    for process in PROCESSES:
        own = [step for step in steps if step.split()[0] == process]
        yield Case(own[len(own) // 2], KILL)
    opening = next(step for step in steps if re.match(r"guard start \S*_open_device open$", step))
    yield Case(opening, errno.EMFILE)


def test_a_fault_leaves_the_network_as_it_was(tmp_path: Path) -> None:
    """See Scenario for what holds after each run."""
    tmp_path.chmod(0o755)
    with opened(tmp_path) as scenario:
        steps = scenario.steps()
        assert {step.split()[0] for step in steps} == set(PROCESSES)
        assert {step.split()[1] for step in steps} >= {"start", "traffic", "change", "reload"}
        for case in chosen(steps):
            scenario.run(step=case.step, fault=case.fault)
