"""The version stands in one place, and the changelog begins with it; what keeps a commit from being
a release."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from router import __version__
from scripts.release import faults

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


def test_what_keeps_a_commit_from_being_a_release() -> None:
    ready = "# Changelog\n\n## 1.2.0 (2030-01-02)\n\n## 1.1.0 (2029-01-01)\n"
    today = "2030-01-02"
    assert list(faults("1.2.0", ready, today, ["v1.1.0"], "")) == []
    (changed,) = faults("1.2.0", ready, today, [], " M router/__init__.py")
    assert "M router/__init__.py" in changed
    (tagged,) = faults("1.2.0", ready, today, ["v1.2.0"], "")
    assert "v1.2.0 is there already" in tagged
    for version, date in (("1.3.0", today), ("1.2.0", "2030-01-03")):
        (undated,) = faults(version, ready, date, [], "")
        assert undated.endswith(f"write '## {version} ({date})'")
    (unwritten,) = faults("1.2.0", "# Changelog\n", today, [], "")
    assert "no release" in unwritten


def test_the_page_about_packages_names_this_version() -> None:
    page = (ROOT / "docs/packages.md").read_text(encoding="utf-8")
    named = re.findall(r"tunrouter[-_](\d[\d.]*\d)", page)
    assert named
    assert set(named) == {__version__}
