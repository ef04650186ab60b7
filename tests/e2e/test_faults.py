"""A few faults of a run: each process is killed, the TUN cannot be opened, and SAMPLE others, which
are others in each run (tests.seed); `make faults` tries all of them at every step.

Which step is the middle one changes with the code.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Final

from tests.faults.scenario import opened
from tests.faults.steps import KILL, STOP, Case, cases
from tests.seed import VARIABLE, choose

SAMPLE: Final = 5
PROCESSES: Final = ("router", "guard", "undoer", "reader")


def chosen(steps: list[str]) -> Iterator[Case]:
    """Each process is killed in the middle of its steps; the guard has no descriptor left for the
    TUN; and some."""
    for process in PROCESSES:
        own = [step for step in steps if step.split()[0] == process]
        yield Case(own[len(own) // 2], KILL)
    opening = next(step for step in steps if re.match(r"guard start \S*_open_device open$", step))
    yield Case(opening, errno.EMFILE)
    # What is stopped is waited for, for many seconds.
    quick = [case for case in cases(steps) if case.fault != STOP]
    yield from Random(choose()).sample(quick, SAMPLE)


def test_a_fault_leaves_the_network_as_it_was(tmp_path: Path) -> None:
    """See Scenario for what holds after each run."""
    tmp_path.chmod(0o755)
    with opened(tmp_path) as scenario:
        steps = scenario.steps()
        assert {step.split()[0] for step in steps} == set(PROCESSES)
        assert {step.split()[1] for step in steps} >= {"start", "traffic", "change", "reload"}
        for case in chosen(steps):
            try:
                scenario.run(step=case.step, fault=case.fault)
            except AssertionError as error:
                error.add_note(f"{case}; {VARIABLE}={choose()}")
                raise
