"""docs/selftest.md has a row for each check, and no other."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from router.policy import machine
from router.policy.machine.extras import EXTRAS

SOURCES = Path(machine.__file__).parent
DOCUMENT = SOURCES.parents[2] / "docs" / "selftest.md"
NAMED_BY = {"way-": ("way-NAME",), "extra-": tuple(f"extra-{name}" for name in EXTRAS)}
"""Identifiers that begin with a constant and end with a name."""
ID = re.compile(r"`([a-z0-9-]+(?:NAME)?)`")


def identifiers() -> Iterator[str]:
    """The first argument of each Result and of each call of as_results."""
    for path in SOURCES.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call | ast.Assign):
                yield from _named(node)


def _named(node: ast.Call | ast.Assign) -> Iterator[str]:
    value = node.value if isinstance(node, ast.Assign) else next(iter(node.args), None)
    is_result = isinstance(node, ast.Call) and getattr(node.func, "id", "") in (
        "Result",
        "as_results",
    )
    if is_result and isinstance(value, ast.Constant):
        yield str(value.value)
    if isinstance(value, ast.JoinedStr) and isinstance(value.values[0], ast.Constant):
        yield from NAMED_BY.get(str(value.values[0].value), ())


def test_every_check_is_documented() -> None:
    rows = [
        line.split("|")[1]
        for line in DOCUMENT.read_text(encoding="utf-8").splitlines()
        if line.startswith("| `")
    ]
    checks = [name for row in rows for name in ID.findall(row)]
    members = {"status", "checks", "finding", "remedy", "unseen"}
    assert set(checks) - members == set(identifiers())
