"""Builds the sdist, and from that alone the wheel, so that the sdist has what its build needs.

Usage: python -m scripts.dist DIRECTORY

Always true: nothing is fetched, so this Python has pip and the build backend that pyproject.toml
names; what a build before this one has left does not get in.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

ROOT: Final = Path(__file__).parents[1]
LISTED: Final = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
MADE: Final = {"build", "dist", "__pycache__", "node_modules"}
SDIST: Final = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
WHEEL: Final = (
    *("pip", "--quiet", "--disable-pip-version-check", "wheel", "--no-cache-dir"),
    *("--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir"),
)


class NotBuiltError(Exception):
    """With the output of what failed."""


def build(into: Path) -> list[Path]:
    """Both, in place of those of other versions. Raises NotBuiltError."""
    into.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="tunrouter-dist-") as name:
        source, built = Path(name, "source"), Path(name, "built")
        built.mkdir()
        for file in _files():
            target = source / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / file, target)
        _run("-c", SDIST, str(built), directory=source)
        (sdist,) = built.glob("*.tar.gz")
        _run("-m", *WHEEL, str(built), str(sdist), directory=built)
        for pattern in ("tunrouter-*.tar.gz", "tunrouter-*.whl"):
            for old in into.glob(pattern):
                old.unlink()
        return [Path(shutil.move(file, into / file.name)) for file in sorted(built.iterdir())]


def _files() -> Iterator[Path]:
    """By their path from the root: those that git knows or would add; without git, in an sdist, all
    but what a build makes."""
    try:
        listed = subprocess.run(LISTED, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        found = [file.relative_to(ROOT) for file in ROOT.rglob("*")]
        found = [file for file in found if not MADE & set(file.parts) and file.parts[0][0] != "."]
    else:
        found = [Path(name) for name in listed.split("\0") if name]
    yield from (file for file in found if (ROOT / file).is_file())


def _run(*arguments: str, directory: Path) -> None:
    done = subprocess.run(
        (sys.executable, *arguments),
        cwd=directory,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != 0:
        raise NotBuiltError(done.stdout)


def main() -> int:
    """The exit status."""
    try:
        for file in build(Path(sys.argv[1])):
            print(file)
    except NotBuiltError as error:
        print(f"scripts.dist: error: the build has failed:\n{error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
