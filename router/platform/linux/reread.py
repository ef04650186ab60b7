"""A program whose output is read bit by bit: the one that reads the rules anew.

The guard starts it, as it needs the rights of the start, and hands over the end of the pipe that
the router reads. What to start the guard has been told before there was a router.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
from collections.abc import Sequence
from typing import Final

from router.platform.base.errors import PlatformError

CAPACITY: Final = 1 << 20
"""Bytes in the pipe at most, so that the program need not wait for every turn of ours."""
PORTION: Final = 1 << 15
"""Bytes read at once: as much as takes a few milliseconds to be taken in."""


class Program:
    """The guard's end: at most one at a time runs."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        signal.signal(signal.SIGCHLD, lambda *_: self._bury())

    def start(self) -> int:
        """The descriptor that its output is to be read from, which belongs to the caller. One that
        still runs is ended: nobody waits for it any more. Raises PlatformError."""
        self.end()
        output, into = os.pipe()
        with contextlib.suppress(OSError):
            fcntl.fcntl(output, fcntl.F_SETPIPE_SZ, CAPACITY)
        try:
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=into)
        except OSError as error:
            os.close(output)
            raise PlatformError(
                f"the rules can't be read anew, {self._command[0]} does not start: {error.strerror}"
            ) from error
        finally:
            os.close(into)
        return output

    def end(self) -> None:
        """If it has not ended."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _bury(self) -> None:
        """Somebody has ended; if it is the program, nothing is left of it."""
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
        """A program that has more to say ends with its next word."""
        os.close(self._descriptor)
