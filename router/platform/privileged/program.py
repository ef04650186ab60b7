"""Programs that the guard starts for the router: those that read the rules file, which needs the
privileges of the start, the one that resolves host names, and the web process.

The guard hands over the end of the pipe that the router reads. It has the commands from its own
start on.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from router.platform.base.errors import PlatformError
from router.platform.reason import remedy

KEPT: Final = (
    "PATH",
    "LANG",
    "TZ",
    "TERM",
    "NO_COLOR",
    "JOURNAL_STREAM",
    "RES_OPTIONS",
    "LOCALDOMAIN",
)
KEPT_PREFIXES: Final = ("LC_", "PYTHON", "LD_", "DYLD_", "TUNROUTER_")
"""Variables of the environment that decide how a program runs, logs and resolves names."""

CAPACITY: Final = 1 << 20
"""Bytes in the pipe at most, so that the program need not wait for each read of the router."""


class Program:
    """The guard's end: at most one at a time runs. reap: to be called when a child has ended.

    environment: as of this process unless given.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None
    ) -> None:
        self._command = command
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str, line: bytes | None = None) -> int:
        """The descriptor that its output is to be read from, which belongs to the caller. Kills
        one that still runs, whose output is no longer read.

        line: what it gets on its standard input, which ends with this process; None: an input that
        is empty. Raises PlatformError.
        """
        self.end()
        output, into = os.pipe()
        if sys.platform == "linux":  # elsewhere the system enlarges it by itself
            with contextlib.suppress(OSError):
                fcntl.fcntl(output, fcntl.F_SETPIPE_SZ, CAPACITY)
        try:
            self._process = subprocess.Popen(
                [*self._command, *arguments],
                stdin=subprocess.DEVNULL if line is None else subprocess.PIPE,
                stdout=into,
                env=self._environment,
            )
            if line is not None:
                _write(self._process, line)
        except OSError as error:
            os.close(output)
            raise PlatformError(
                f"{self._command[0]} does not start: {error.strerror}: {remedy(error)}"
            ) from error
        finally:
            os.close(into)
        return output

    def end(self) -> None:
        """Kill it if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stdin is not None:
                self._process.stdin.close()

    def reap(self) -> None:
        """Collect the status of the program if it has ended."""
        if self._process is not None:
            self._process.poll()


def without_secrets(environment: Mapping[str, str]) -> Mapping[str, str]:
    """What a program needs that serves strangers: variables may have passwords (`password_env`)."""
    return {
        name: value
        for name, value in environment.items()
        if name in KEPT or name.startswith(KEPT_PREFIXES)
    }


def _write(process: subprocess.Popen[bytes], line: bytes) -> None:
    """Shorter than a pipe has room for, so that this waits for nobody."""
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(line)
        process.stdin.flush()
