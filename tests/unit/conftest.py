"""Settings of all property tests: the same examples in every run, unless there are to be others
each time, and no deadline. A limit for each step of every test."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.unit.examples import TIMES, examples
from tests.unit.time_limit import limited

settings.register_profile(
    "tunrouter", derandomize=not TIMES, deadline=None, max_examples=examples(100)
)
settings.load_profile("tunrouter")

LINUX = ("router.platform.linux", "tests.unit.platform", "tests.e2e.netns")
HERE = Path(__file__).parent
MODULE = re.compile(r"\btests(?:\.\w+)+")
"""Imported, or started as a program."""


def needs_linux(path: Path, seen: frozenset[Path] = frozenset()) -> bool:
    """Whether a file of tests, or one that it names, imports what there is on Linux alone."""
    text = path.read_text(encoding="utf-8")
    if any(f"from {name}" in text or f"import {name}" in text for name in LINUX):
        return True
    named = {HERE.parents[1].joinpath(*each.split(".")) for each in MODULE.findall(text)}
    files = {each.with_suffix(".py") for each in named} - seen - {path}
    return any(needs_linux(each, seen | files) for each in files if each.exists())


if sys.platform != "linux":
    # The path of a socket has 103 bytes at most (sys/un.h), and half of that is TMPDIR on a Mac.
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", "/tmp")
    collect_ignore = [
        "platform",
        *(str(each.relative_to(HERE)) for each in HERE.rglob("test_*.py") if needs_linux(each)),
    ]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None]:
    with limited():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None]:
    with limited():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None]:
    with limited():
        return (yield)
