"""Invalid rules and their problems, word for word.

Each golden/NAME.yaml has the text that `check` shows for it in golden/NAME.txt. After a deliberate
change of wording, write the texts again and read the difference:

    UPDATE_GOLDEN=1 pytest tests/unit/config/test_golden.py && git diff tests/unit/config/golden
"""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path

import pytest

import router.config
from router.config.loader import load

GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(path.stem for path in GOLDEN.glob("*.yaml"))

KEBAB = re.compile(r"[a-z]+(-[a-z0-9]+)+")
REPORTING = {
    *("error", "secret_error", "warning", "Problem", "TooMuchError", "_report", "_refuse"),
}
LIBYAML_ONLY = {"yaml-syntax-colon"}
"""`[fd00::, x]` is an error for libyaml and a mapping within the list for PyYAML's own parser."""

SHOWN_ELSEWHERE = {
    "unreadable-rules-file",
    *("rules-too-large", "list-too-large", "list-too-long", "list-too-slow"),
    *("too-many-networks", "too-many-problems", "too-many-values", "out-of-memory"),
    *("file-changed", "untrusted-file", "password-file-readable"),
}
"""Codes that no file of a reasonable size can show, with their own tests: test_bounds, test_faults,
test_trust, test_loader, test_socks5."""


def rendered(case: str, pure_python: bool) -> str:
    loaded = load(f"{case}.yaml", pure_python=pure_python)
    assert loaded.problems, f"{case} is good"
    return "\n".join(problem.as_text(loaded.sources) for problem in loaded.problems) + "\n"


@pytest.fixture(autouse=True)
def _among_the_golden_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN)


@pytest.mark.parametrize("case", CASES)
def test_bad_rules_give_the_expected_text(case: str) -> None:
    expected = GOLDEN / f"{case}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        expected.write_text(rendered(case, pure_python=False), encoding="utf-8")
    assert rendered(case, pure_python=False) == expected.read_text(encoding="utf-8")


@pytest.mark.parametrize("case", [case for case in CASES if case not in LIBYAML_ONLY])
def test_both_yaml_parsers_find_the_same(case: str) -> None:
    assert rendered(case, pure_python=True) == rendered(case, pure_python=False)


@pytest.mark.parametrize("case", sorted(LIBYAML_ONLY))
def test_where_the_parsers_differ_both_find_an_error_on_the_same_line(case: str) -> None:
    places = []
    for pure_python in (True, False):
        loaded = load(f"{case}.yaml", pure_python=pure_python)
        assert loaded.config is None
        places.append([problem.place and problem.place.line for problem in loaded.problems])
    assert places[0] == places[1]


def codes_in_source() -> set[str]:
    """Every problem code that the config layer reports."""
    codes = set()
    for path in Path(router.config.__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if called in REPORTING:
                codes |= {
                    argument.value
                    for argument in node.args[:2]
                    if isinstance(argument, ast.Constant)
                    and isinstance(argument.value, str)
                    and KEBAB.fullmatch(argument.value)
                }
    return codes


def test_every_code_has_a_golden_text() -> None:
    shown = set()
    for path in GOLDEN.glob("*.txt"):
        shown |= set(re.findall(r": (?:error|warning)\[([a-z0-9-]+)\]: ", path.read_text("utf-8")))
    assert codes_in_source() - SHOWN_ELSEWHERE <= shown
    assert len(shown) > 35
