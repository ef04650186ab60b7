"""What CONTRIBUTING.md and docs/releasing.md name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PATH = re.compile(r"`((?:router|tests|scripts|docs|packaging)/[\w./]+)`")
COMMAND = re.compile(r"\bmake ([a-z][a-z-]+)")


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/releasing.md", "docs/packages.md"])
def test_files_and_commands_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = re.findall(r"(?m)^([a-z][a-z -]*):", (ROOT / "Makefile").read_text(encoding="utf-8"))
    known = {word for line in targets for word in line.split()}
    commands = set(COMMAND.findall(text))
    assert commands
    assert commands <= known
    assert [path for path in PATH.findall(text) if not (ROOT / path).exists()] == []
