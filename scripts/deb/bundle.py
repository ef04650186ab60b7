"""The libraries that a .deb brings along: what requirements/run.lock names, as it is installed in
the environment that builds the package.

Always true: nothing is fetched; each library is of the locked version; none has compiled code, so
that one package serves every machine and every Python.
"""

from __future__ import annotations

import re
import shutil
from importlib import metadata
from pathlib import Path
from typing import Final

LOCKED: Final = re.compile(r"^(?P<name>[a-z0-9-]+)==(?P<version>\S+)(?P<marker> ;.*)? \\$", re.M)
NOT_BUNDLED: Final = {
    "pyyaml": "compiled; Debian has it",
    "setuptools": "builds the package, and is not used by it",
}
COMPILED: Final = (".so", ".pyd")


class NotBundledError(Exception):
    """A library that is missing, of another version, or not of Python alone."""


def locked(lock: str) -> dict[str, str]:
    """Names and versions of those to bundle; `lock` is its text."""
    return {
        match["name"]: match["version"]
        for match in LOCKED.finditer(lock)
        if match["name"] not in NOT_BUNDLED and not match["marker"]
    }


def copy_libraries(lock: str, into: Path) -> None:
    """Raises NotBundledError."""
    for name, version in locked(lock).items():
        try:
            installed = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            raise NotBundledError(f"{name} {version} is not installed: run make") from None
        if installed.version != version:
            raise NotBundledError(f"{name} is {installed.version}, locked is {version}: run make")
        _copy(installed, into)


def _copy(installed: metadata.Distribution, into: Path) -> None:
    for each in installed.files or ():
        # Programs lie outside, by '..'; they are not ours to offer.
        if ".." in each.parts or "__pycache__" in each.parts:
            continue
        if each.suffix in COMPILED:
            raise NotBundledError(f"{each} is compiled: a package for all machines can't have it")
        target = into / each
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(str(each.locate()), target)
