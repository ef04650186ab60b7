"""What can be said of a machine on whose system a run is not possible."""

from __future__ import annotations

import os
from collections.abc import Collection

from router.platform.found import found_modules, found_programs
from router.policy.machine.facts import Machine


def read_machine(modules: Collection[str], programs: Collection[str]) -> Machine:
    """See router.platform.this_machine."""
    names = os.uname()
    return Machine(
        names.sysname,
        names.release,
        is_root=os.geteuid() == 0,
        arrivals=None,
        modules=found_modules(modules),
        programs=found_programs(programs),
    )
