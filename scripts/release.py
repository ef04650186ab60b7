"""Whether this commit can be a release, before anything is built: the first two points of
docs/releasing.md.

Usage: python -m scripts.release
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from router import __version__

ROOT: Final = Path(__file__).parents[1]
HEADING: Final = re.compile(r"^## (?P<version>\S+) \((?P<date>[^)]+)\)$", re.MULTILINE)


def faults(
    version: str, changelog: str, today: str, tags: list[str], changed: str
) -> Iterator[str]:
    """What is in the way. today: ISO 8601; changed: what `git status --porcelain` prints."""
    if changed:
        yield f"the work tree has changes; commit them, or put them aside:\n{changed}"
    if f"v{version}" in tags:
        yield f"the tag v{version} is there already: raise __version__ in router/__init__.py"
    first = HEADING.search(changelog)
    if first is None or (first["version"], first["date"]) != (version, today):
        found = "no release" if first is None else first[0]
        yield f"CHANGELOG.md begins with {found}: write '## {version} ({today})'"


def main() -> int:
    """The exit status."""
    found = list(
        faults(
            __version__,
            (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
            time.strftime("%Y-%m-%d"),
            _git("tag", "--list").split(),
            _git("status", "--porcelain").rstrip(),
        )
    )
    for each in found:
        print(f"release-check: error: {each}", file=sys.stderr)
    return 1 if found else 0


def _git(*arguments: str) -> str:
    return subprocess.run(
        ("git", *arguments), cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout


if __name__ == "__main__":
    sys.exit(main())
