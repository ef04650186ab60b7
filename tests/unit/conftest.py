"""Settings of all property tests: the same examples in every run, unless there are to be others
each time, and no deadline."""

from __future__ import annotations

import sys
from pathlib import Path

from hypothesis import settings

from tests.unit.examples import TIMES, examples

settings.register_profile(
    "tunrouter", derandomize=not TIMES, deadline=None, max_examples=examples(100)
)
settings.load_profile("tunrouter")

LINUX = ("router.platform.linux", "tests.unit.platform", "tests.e2e.netns")
HERE = Path(__file__).parent


def needs_linux(path: Path) -> bool:
    """Whether a file of tests imports what there is on Linux alone."""
    text = path.read_text(encoding="utf-8")
    return any(f"from {name}" in text or f"import {name}" in text for name in LINUX)


if sys.platform != "linux":
    collect_ignore = [
        "platform",
        *(str(each.relative_to(HERE)) for each in HERE.rglob("test_*.py") if needs_linux(each)),
    ]
