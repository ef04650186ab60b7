"""Programs that the guard starts for the router, and their output: the one that reads the rules
file again, which needs the privileges of the start, and the one that resolves host names.

The guard hands over the end of the pipe that the router reads. It has the commands from its own
start on.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
from collections.abc import Sequence
from typing import Final

from router.platform.base.errors import PlatformError
from router.platform.reason import remedy

CAPACITY: Final = 1 << 20
"""Bytes in the pipe at most, so that the program need not wait for each read of the router."""
PORTION: Final = 1 << 15
"""Bytes read at once; unpickling as many takes a few milliseconds."""


class Program:
    """The guard's end: at most one at a time runs. reap: to be called when a child has ended."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str) -> int:
        """The descriptor that its output is to be read from, which belongs to the caller. Kills
        one that still runs, whose output is no longer read. Raises PlatformError."""
        self.end()
        output, into = os.pipe()
        with contextlib.suppress(OSError):
            fcntl.fcntl(output, fcntl.F_SETPIPE_SZ, CAPACITY)
        try:
            self._process = subprocess.Popen(
                [*self._command, *arguments], stdin=subprocess.DEVNULL, stdout=into
            )
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

    def reap(self) -> None:
        """Collect the status of the program if it has ended."""
        if self._process is not None:
            self._process.poll()


class Output:
    """The router's end: see Pipe."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        os.set_blocking(descriptor, False)

    def fileno(self) -> int:
        return self._descriptor

    def read(self) -> bytes:
        return os.read(self._descriptor, PORTION)

    def close(self) -> None:
        """A program that still writes ends with its next write (SIGPIPE)."""
        os.close(self._descriptor)
