"""What `check` prints, word for word.

Each golden/NAME.yaml is checked against the network that its first line names (`# laptop`; see
networks.py) and gives golden/NAME.txt. After a deliberate change of wording, write the texts again
and read the difference:

    UPDATE_GOLDEN=1 pytest tests/unit/check/test_golden.py && git diff tests/unit/check/golden
"""

from __future__ import annotations

import ast
import io
import os
import re
from pathlib import Path

import pytest

import router.policy.findings
from router.cli.check import inspect
from router.cli.report import Report, print_report
from router.config.loader import load
from tests.unit.check.networks import NETWORKS

GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(path.stem for path in GOLDEN.glob("*.yaml"))
CODE = re.compile(r"[a-z]+(-[a-z0-9]+)+")


def checked(case: str) -> Report:
    first = (GOLDEN / f"{case}.yaml").read_text(encoding="utf-8").partition("\n")[0]
    return inspect(load(f"{case}.yaml"), NETWORKS[first.removeprefix("# ")])


def printed(report: Report, form: str) -> str:
    stream = io.StringIO()
    print_report(report, form, stream)
    return stream.getvalue()


@pytest.fixture(autouse=True)
def _among_the_golden_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN)


def expect(file: str, text: str) -> None:
    if os.environ.get("UPDATE_GOLDEN"):
        Path(file).write_text(text, encoding="utf-8")
    assert text == Path(file).read_text(encoding="utf-8")


@pytest.mark.parametrize("case", CASES)
def test_text(case: str) -> None:
    expect(f"{case}.txt", printed(checked(case), "text"))


@pytest.mark.parametrize("case", ["endpoint-exempt", "everything", "has-errors", "proxies"])
def test_json(case: str) -> None:
    expect(f"{case}.json", printed(checked(case), "json"))


@pytest.mark.parametrize("case", ["endpoint-cut-off", "has-errors"])
def test_github(case: str) -> None:
    expect(f"{case}.github", printed(checked(case), "github"))


def codes_in_source() -> set[str]:
    """Every code that the findings have."""
    codes: set[str] = set()
    for path in Path(router.policy.findings.__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                codes |= {node.value} if CODE.fullmatch(node.value) else set()
    return codes - {"link-local"}


def test_every_code_has_a_golden_text() -> None:
    shown: set[str] = set()
    for path in GOLDEN.glob("*.txt"):
        shown |= set(re.findall(r"(?:error|warning)\[([a-z0-9-]+)\]: ", path.read_text("utf-8")))
    assert codes_in_source() <= shown
    assert len(codes_in_source()) > 15


@pytest.mark.parametrize("case", CASES)
def test_each_case_shows_the_code_it_is_named_after(case: str) -> None:
    named = codes_in_source() & {case}
    assert not named or {problem.code for problem in checked(case).problems} >= named
