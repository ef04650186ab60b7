"""docs/check.md tells of every code, with its severity, and of no other."""

from __future__ import annotations

import re
from pathlib import Path

import router
from tests.unit.check.test_golden import codes_in_source as codes_of_findings
from tests.unit.config.test_golden import codes_in_source as codes_of_files

DOCS = Path(router.__file__).parents[1] / "docs" / "check.md"
ROW = re.compile(r"^\| `([a-z0-9-]+)` \| (error or warning|error|warning) \| .+ \| .+ \|$", re.M)
UNIT = Path(__file__).parents[1]


def test_the_table_has_every_code_and_no_other() -> None:
    rows = [code for code, _ in ROW.findall(DOCS.read_text(encoding="utf-8"))]
    assert len(rows) == len(set(rows))
    assert set(rows) == codes_of_findings() | codes_of_files()


def test_severities_are_as_told() -> None:
    told = dict(ROW.findall(DOCS.read_text(encoding="utf-8")))
    seen: dict[str, set[str]] = {}
    for golden in (*UNIT.glob("check/golden/*.txt"), *UNIT.glob("config/golden/*.txt")):
        shown = re.findall(r"(error|warning)\[([a-z0-9-]+)\]: ", golden.read_text(encoding="utf-8"))
        for severity, code in shown:
            seen.setdefault(code, set()).add(severity)
    assert {code: " or ".join(sorted(found)) for code, found in seen.items()} == {
        code: severity for code, severity in told.items() if code in seen
    }
