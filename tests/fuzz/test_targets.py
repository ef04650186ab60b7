"""Every input of the corpus, and some that are made of them; `make fuzz` tries many."""

from __future__ import annotations

import time
from itertools import count
from pathlib import Path
from typing import Final

import pytest

from tests.fuzz.inputs import CORPUS, corpus, mutated
from tests.fuzz.targets import TARGETS
from tests.seed import VARIABLE, choose

SECONDS: Final = 2.0
"""Of processor time for each target, so that a busy machine tries as many inputs."""
EACH = pytest.mark.parametrize("name", TARGETS)


def test_each_target_has_a_corpus() -> None:
    assert {path.name for path in CORPUS.iterdir()} == TARGETS.keys()


@EACH
def test_the_corpus(name: str, tmp_path: Path) -> None:
    for data in corpus(name):
        TARGETS[name](tmp_path, data)


@EACH
def test_what_becomes_of_the_corpus(name: str, tmp_path: Path) -> None:
    """Others in each run, see tests.seed."""
    seeds, first, end = corpus(name), choose(), time.process_time() + SECONDS
    for number in count(first):
        data = mutated(seeds, number)
        try:
            TARGETS[name](tmp_path, data)
        except Exception as error:
            error.add_note(f"{VARIABLE}={number}: {data!r}")
            raise
        if time.process_time() > end:
            return
