"""Every input of the corpus, and some that are made of them; `make fuzz` tries many."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.inputs import CORPUS, corpus, mutated
from tests.fuzz.targets import TARGETS
from tests.unit.examples import examples

EACH = pytest.mark.parametrize("name", TARGETS)


def test_each_target_has_a_corpus() -> None:
    assert {path.name for path in CORPUS.iterdir()} == TARGETS.keys()


@EACH
def test_the_corpus(name: str, tmp_path: Path) -> None:
    for data in corpus(name):
        TARGETS[name](tmp_path, data)


@EACH
def test_what_becomes_of_the_corpus(name: str, tmp_path: Path) -> None:
    seeds = corpus(name)
    for number in range(examples(300)):
        data = mutated(seeds, number)
        try:
            TARGETS[name](tmp_path, data)
        except Exception as error:
            error.add_note(f"seed {number}: {data!r}")
            raise
