"""A copy of a machine's files, to install packages in: an overlay, in a mount namespace.

Always true: nothing that is written in the copy reaches the machine, and the copy is gone with the
process that holds it.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.e2e.netns import Namespace
from tests.e2e.processes import Process

TIMEOUT_S: Final = 300.0
READY: Final = "mounted"
MOUNT: Final = """\
set -e
mount -t tmpfs none "$1"
cd "$1"
mkdir written work root
mount -t overlay -o lowerdir="$2",upperdir=written,workdir=work none root
for each in dev proc sys tmp; do mount --rbind /$each root/$each; done
echo mounted
exec chroot root sleep infinity
"""


class Machine:
    """One copy, while it is held."""

    def __init__(
        self, namespace: Namespace, holder: Process, directory: Path, original: Path
    ) -> None:
        self._namespace = namespace
        self._directory = directory
        self._original = original
        self._mounts = ("nsenter", f"--target={holder.pid}", "--mount")
        self.prefix = (
            *(*self._mounts, "--root", "--wdns=/"),
            *("env", "--unset=PYTHONPATH", "--unset=PYTHONDONTWRITEBYTECODE"),
        )
        """Before a command line: runs it there."""

    def run(self, *argv: str, check: bool = True) -> str:
        """What a command prints. Raises AssertionError if it fails."""
        command = (*self.prefix, *argv)
        return self._namespace.run(*command, check=check, timeout=TIMEOUT_S).stdout

    def added(self) -> set[str]:
        """The paths that it has and the machine has not."""
        return {path for path in self._written() if not os.path.lexists(f"{self._original}{path}")}

    def removed(self) -> set[str]:
        """The paths that the machine has and it has not: overlayfs keeps them as devices."""
        return self._written("-type", "c")

    def _written(self, *tests: str) -> set[str]:
        command = ("find", str(self._directory / "written"), "-mindepth", "1", *tests)
        found = self._namespace.run(*self._mounts, *command, "-printf", "/%P\n").stdout
        return set(found.splitlines())


@contextmanager
def copied(namespace: Namespace, directory: Path, original: Path) -> Iterator[Machine]:
    """A copy of the machine with the root directory `original`, in the network of a namespace;
    `directory` is empty."""
    holder = namespace.start(
        *("unshare", "--mount", "--propagation=private"),
        *("sh", "-c", MOUNT, "sh", str(directory), str(original)),
    )
    try:
        holder.wait_for_output(READY)
        yield Machine(namespace, holder, directory, original)
    finally:
        holder.close()


def built(directory: Path, python: str, version: str | None = None) -> Path:
    """A package, by the Python of an environment, as `make deb` builds it but for compression."""
    root = Path(__file__).parents[2]
    options = ("--fast",) if version is None else ("--fast", "--version", version)
    command = (python, "-m", "scripts.deb", str(directory), *options)
    done = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True)
    return Path(done.stdout.strip())
