"""Damaged configurations: an error with a place, or rules that load; never anything else."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from router.config.document import SyntaxProblemError
from tests.unit.config.foreign.imports import imported, loaded
from tests.unit.config.foreign.test_decisions import CONFIGURATIONS, PROGRAM_OF, configurations

TIMES = 60
PIECES = (
    "'",
    '"',
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "(",
    ")",
    "\n",
    "#",
    "*a",
    "&a ",
    "!!python/x ",
    "-",
)


@pytest.mark.parametrize("path", configurations(), ids=lambda path: path.stem)
def test_damage_is_an_error_or_nothing(path: Path, tmp_path: Path) -> None:
    program = PROGRAM_OF[path.stem.split("-")[0]]
    chooser = random.Random(path.stem)
    text = path.read_text(encoding="utf-8")
    (tmp_path / "lists").symlink_to(CONFIGURATIONS / "lists")
    read = 0
    for _ in range(TIMES):
        damaged = tmp_path / path.name
        damaged.write_text(_damaged(text, chooser), encoding="utf-8")
        try:
            _, made = imported(program, damaged)
        except SyntaxProblemError as error:
            assert error.problem.place is not None
            continue
        loaded(tmp_path, made if "version: 1" in made else "version: 1\n")
        read += 1
    assert read, "every damage was an error of syntax"


def _damaged(text: str, chooser: random.Random) -> str:
    for _ in range(chooser.randint(1, 4)):
        begin = chooser.randrange(len(text))
        end = min(len(text), begin + chooser.choice((0, 1, 1, 5, 40)))
        piece = chooser.choice((*PIECES, "", text[begin:end] * 2))
        text = text[:begin] + piece + text[end:]
    return text


@pytest.mark.parametrize(
    ("program", "text", "message"),
    [
        ("clash", "a: !!python/object:os.system {}\n", ""),
        ("clash", "a: !x b\n", "means nothing here"),
        ("clash", "rules: [a\n", "never closed"),
        ("clash", "[" * 100, "nested"),
        ("sing-box", "[" * 100_000, "nested more than 64 deep"),
        ("sing-box", '{"a": }', "'}' is no value"),
        ("sing-box", '{"a" 1}', "':' is missing"),
        ("sing-box", '{"a": 1 "b": 2}', "',' or '}' is missing"),
        ("sing-box", "{a: 1}", "a key in double quotes"),
        ("sing-box", '{"a": "b', "never closed"),
        ("sing-box", '{"a": "\\q"}', "a backslash begins no escape"),
        ("sing-box", '{"a": 1} x', "text follows"),
        ("sing-box", "/* {}", "is no value"),
        ("sing-box", "", "ends too soon"),
        ("sing-box", '{"a":', "ends too soon"),
    ],
)
def test_errors_of_syntax(tmp_path: Path, program: str, text: str, message: str) -> None:
    path = tmp_path / "damaged"
    path.write_text(text)
    if not message:
        imported(program, path)
        return
    with pytest.raises(SyntaxProblemError) as caught:
        imported(program, path)
    assert message in caught.value.problem.message
    assert caught.value.problem.help
