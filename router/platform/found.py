"""Python packages and programs that are looked for by their names, on every system."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from importlib.util import find_spec


def found_modules(names: Iterable[str]) -> frozenset[str]:
    """Those that could be imported; none is."""
    return frozenset(name for name in names if find_spec(name) is not None)


def found_programs(names: Iterable[str]) -> frozenset[str]:
    """Those in the directories of PATH."""
    return frozenset(name for name in names if shutil.which(name) is not None)
