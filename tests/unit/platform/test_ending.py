"""The end of a process: what was written arrives, and nothing else is waited for."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import atexit, sys
from router.platform.ending import end
atexit.register(print, "taken apart")
print("written", end="")
print("said", end="", file=sys.stderr)
{before}
end(3)
"""


def run(before: str) -> tuple[int, str, str]:
    """Exit status, standard output and standard error."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(before=before)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


def test_what_was_written_arrives() -> None:
    assert run("") == (3, "written", "said")


@pytest.mark.parametrize(
    "before",
    ["sys.stdout.flush(); sys.stdout.close()", "sys.stdout.flush(); sys.stdout = None"],
    ids=["closed", "never open"],
)
def test_without_standard_output(before: str) -> None:
    assert run(before) == (3, "written", "said")
