"""The tests that docs/direct-path.md and docs/peers.md name exist; rows of the first have one."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
DOCS = TESTS.parent / "docs"
TEXT = (DOCS / "direct-path.md").read_text(encoding="utf-8")
PEERS = (DOCS / "peers.md").read_text(encoding="utf-8")
NAMED = re.compile(r"`([\w/]+/test_\w+)::(test_\w+)`")
BENCH = re.compile(r"`bench/\w+\.py`")
HEAD = re.compile(r"^\|.*\btests \|$|^\|(?:-+\|)+$")
ROWS = [line for line in TEXT.splitlines() if line.startswith("|") and not HEAD.match(line)]


@cache
def functions_of(file: str) -> set[str]:
    tree = ast.parse((TESTS / f"{file}.py").read_text(encoding="utf-8"))
    return {
        each.name
        for each in tree.body
        if isinstance(each, ast.FunctionDef) and each.name.startswith("test_")
    }


@pytest.mark.parametrize(("file", "name"), sorted(set(NAMED.findall(TEXT + PEERS))))
def test_what_is_named_exists(file: str, name: str) -> None:
    assert name in functions_of(file)


@pytest.mark.parametrize("row", ROWS)
def test_each_row_names_a_test(row: str) -> None:
    assert NAMED.search(row.rpartition(" | ")[2]) or BENCH.search(row)


def test_every_name_is_written_in_full() -> None:
    assert TEXT.count("test_") == 2 * len(NAMED.findall(TEXT))
