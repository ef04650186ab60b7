"""Prints what pyproject.toml requires, one requirement a line.

Usage: requirements.py run|test|lock [--lowest]
  run         to build and to run, with every extra that a user can ask for
  test        that, and what the documentation, the tests and the static checks need
  lock        that of run, and what renews the locks
  --lowest    each pinned to its lower bound

Always true: every requirement is NAME>=VERSION, so that each lower bound can be tested, with a
marker of the systems that it is for where it is not for all. Needs nothing beyond the standard
library, because it runs before anything is installed.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

USER_EXTRAS = ("trace", "web")
PURPOSES = {"run": (), "test": ("docs", "test"), "lock": ("lock",)}
"""The extras that each one needs besides."""
PROJECT = Path(__file__).parent.parent / "pyproject.toml"
REQUIREMENT = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)>=(?P<version>[0-9]+(\.[0-9]+)*)"
    r"(?P<marker>; sys_platform == '[a-z]+')?"
)


def requirements(tables: dict[str, Any], purpose: str) -> list[str]:
    """Those of one purpose (run, test, lock). Raises ValueError for one without a lower bound."""
    project = tables["project"]
    extras = project["optional-dependencies"]
    found: list[str] = [*tables["build-system"]["requires"], *project["dependencies"]]
    for extra in (*USER_EXTRAS, *PURPOSES[purpose]):
        found += extras[extra]
    for requirement in found:
        if not REQUIREMENT.fullmatch(requirement):
            raise ValueError(f"{requirement!r} in {PROJECT.name}: write it as NAME>=VERSION")
    return found


def main(purpose: str, *options: str) -> None:
    """Print the requirements."""
    tables = tomllib.loads(PROJECT.read_text(encoding="utf-8"))
    try:
        found = requirements(tables, purpose)
    except ValueError as error:
        sys.exit(str(error))
    for requirement in found:
        print(requirement.replace(">=", "==", 1) if "--lowest" in options else requirement)


if __name__ == "__main__":
    main(*sys.argv[1:])
