"""Processes that a test owns: output kept in files, ended by pid, never by name.

Always true: a Process that was started is either still ours to end or has been waited for;
stop() may be called twice.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.e2e.wait import BOUND_S, wait_until


class Process:
    """A background process. Standard output and standard error are read at any time as text."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        self.argv = list(argv)
        self._directory = tempfile.TemporaryDirectory(prefix="tr-process-")
        self._stdout = Path(self._directory.name, "stdout")
        self._stderr = Path(self._directory.name, "stderr")
        with self._stdout.open("wb") as out, self._stderr.open("wb") as err:
            self._process = subprocess.Popen(
                self.argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def stdout(self) -> str:
        return self._stdout.read_text(errors="replace")

    @property
    def stderr(self) -> str:
        return self._stderr.read_text(errors="replace")

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait_for_output(self, text: str, *, timeout: float = BOUND_S) -> None:
        """Waits until `text` stands in either output. Raises AssertionError if it never does."""

        def seen_or_ended() -> bool:
            return text in self.stdout + self.stderr or not self.running

        wait_until(seen_or_ended, f"{text!r} from {self}", timeout=timeout, detail=self.report)
        assert text in self.stdout + self.stderr, f"ended without {text!r}: {self.report()}"

    def wait(self, *, timeout: float = BOUND_S) -> int:
        """Waits for the end and returns the exit code (negative: the signal)."""
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"still running after {timeout:g} s: {self.report()}") from error

    def stop(self, by: signal.Signals = signal.SIGTERM, *, timeout: float = BOUND_S) -> int:
        """Sends a signal, waits for the end, returns the exit code; SIGKILL if it does not end."""
        if self.running:
            self._process.send_signal(by)
        try:
            return self.wait(timeout=timeout)
        finally:
            if self.running:
                self._process.kill()
                self._process.wait()

    def close(self) -> None:
        """Ends the process, if it still runs, and drops its output."""
        if self.running:
            self._process.kill()
            self._process.wait()
        self._directory.cleanup()

    def report(self) -> str:
        return f"{self}\n--- stdout\n{self.stdout}\n--- stderr\n{self.stderr}"

    def __str__(self) -> str:
        return " ".join(self.argv)
