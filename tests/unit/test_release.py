"""The version stands in one place, and the changelog begins with it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from router import __version__

ROOT = Path(__file__).parents[2]
RELEASES = re.compile(r"^## (\S+)", re.MULTILINE)


def test_the_package_takes_its_version_from_the_program() -> None:
    tables = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" not in tables["project"]
    assert "version" in tables["project"]["dynamic"]
    assert tables["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "router.__version__"}


def test_the_changelog_begins_with_this_version() -> None:
    releases = RELEASES.findall((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    assert releases[0] == __version__
    numbers = [tuple(map(int, each.split("."))) for each in releases]
    assert numbers == sorted(set(numbers), reverse=True)
