"""What axe-core finds on a page in a browser (tests/web/package.json)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from selenium.webdriver import Chrome

FILE: Final = Path(__file__).parent / "node_modules/axe-core/axe.min.js"
RUN: Final = """
const done = arguments[0];
axe.run(document, { resultTypes: ["violations"] }).then((found) => done(found.violations));
"""


def findings(page: Chrome) -> str:
    """Of any impact, each with the elements that it is about; empty if there is none."""
    assert FILE.exists(), "axe-core is missing: run `make e2e`, or npm ci in tests/web"
    if not page.execute_script("return window.axe !== undefined"):
        page.execute_script(FILE.read_text(encoding="utf-8"))
    found = page.execute_async_script(RUN)
    return json.dumps([_short(each) for each in found], indent=1) if found else ""


def _short(found: dict[str, Any]) -> dict[str, Any]:
    elements = [node["html"] for node in found["nodes"]]
    return {"id": found["id"], "impact": found["impact"], "help": found["help"], "of": elements[:3]}
