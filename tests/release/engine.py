"""podman for the tests: storage of its own, no network but a namespace that exists already, and
images that are built without a registry.

Command lines of the documentation are run as they stand there: `podman` is a script before the real
one, which adds what this machine needs. containers-common's defaults, its seccomp profile among
them, stay.

Always true: nothing is written outside the directory, and nothing runs when it is closed.
"""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from tests.e2e.netns import NAMESPACES, Namespace
from tests.e2e.processes import Process

PODMAN: Final = "/usr/bin/podman"
TIMEOUT_S: Final = 1200.0
WRAPPER: Final = """\
#!/bin/sh
# Without systemd, and as root without CAP_SYS_RESOURCE, which may raise no limit.
command=$1
shift
case $command in
    build) set -- --isolation=chroot --pull-never "$@" ;;
    run) set -- --pull=never --network=ns:{network} {limits} "$@" ;;
esac
exec {podman} "$command" "$@"
"""


class Engine:
    """The directory is empty at first; containers run in the network of the namespace."""

    def __init__(self, directory: Path, namespace: Namespace) -> None:
        self._programs = directory / "bin"
        options = (
            *("--root", str(directory / "storage"), "--runroot", str(directory / "run")),
            *("--storage-driver=overlay", "--cgroup-manager=cgroupfs", "--runtime=runc"),
        )
        self._podman = (PODMAN, *options)
        self._programs.mkdir()
        wrapper = self._programs / "podman"
        network = NAMESPACES / namespace.name
        text = WRAPPER.format(network=network, limits=_limits(), podman=" ".join(self._podman))
        wrapper.write_text(text, encoding="utf-8")
        wrapper.chmod(0o755)
        self._environment = {"PATH": f"{self._programs}:{os.environ['PATH']}"}

    def add_image(self, name: str, root: Path) -> None:
        """An image of a root directory, under the name that FROM has."""
        archive = subprocess.Popen(
            ("tar", "--create", "--directory", str(root), "."), stdout=subprocess.PIPE
        )
        with archive:
            assert archive.stdout is not None
            self._run((*self._podman, "import", "--quiet", "-", name), stdin=archive.stdout)

    def run(self, line: str, directory: Path, *, check: bool = True) -> str:
        """What a command line prints, both streams. Raises AssertionError if it fails."""
        return self._run(("sh", "-c", line), directory, check=check)

    def start(self, line: str, directory: Path) -> Process:
        script = f'cd "{directory}" && exec {line}'
        return Process(("sh", "-c", script), self._environment)

    def close(self) -> None:
        self._run((*self._podman, "system", "reset", "--force"))

    def _run(
        self,
        command: tuple[str, ...],
        directory: Path | None = None,
        *,
        check: bool = True,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
    ) -> str:
        done = subprocess.run(
            command,
            cwd=directory,
            env={**os.environ, **self._environment},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            text=True,
            timeout=TIMEOUT_S,
        )
        assert done.returncode == 0 or not check, f"{command}\n{done.stdout}"
        return done.stdout


@contextmanager
def opened_engine(directory: Path, namespace: Namespace) -> Iterator[Engine]:
    engine = Engine(directory, namespace)
    try:
        yield engine
    finally:
        engine.close()


def _limits() -> str:
    """Those of this process: what podman asks for otherwise is more than it may have. It lowers the
    number of its own processes before."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return f"--ulimit=nofile={files}:{files} --ulimit=nproc=1024:1024"
