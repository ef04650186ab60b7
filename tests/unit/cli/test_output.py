"""Standard output that is closed or can't be written, with the program as a process."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = [
    ["check", "-c", "rules.yaml"],
    ["check", "-c", "absent.yaml"],
    ["explain", "192.0.2.1", "-c", "rules.yaml"],
    ["lists", "merge", "list.txt"],
    ["schema"],
    ["--help"],
    ["--version"],
]


@pytest.fixture(autouse=True)
def _among_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.chdir(tmp_path)
    Path("rules.yaml").write_text("version: 1\nrules:\n  - {cidr: 192.0.2.0/24, policy: drop}\n")
    Path("list.txt").write_text("".join(f"10.{n >> 8}.{n & 255}.1\n" for n in range(20_000)))


def run(redirection: str, arguments: list[str], before: str = "") -> tuple[int, str]:
    """Exit status and standard error of the program, started by a shell after `before`."""
    command = f'{before} exec "$@" {redirection}'
    program = [sys.executable, "-m", "router.cli", *arguments]
    done = subprocess.run(
        ["sh", "-c", command, "sh", *program],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_closed_output_and_errors_are_discarded(arguments: list[str]) -> None:
    expected, _ = run(">/dev/null", arguments)
    for closed in (">&-", ">&- 2>&-"):
        assert run(closed, arguments) == (expected, ""), closed


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_an_error_of_writing_is_one_sentence(
    arguments: list[str], unbuffered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that may not grow fails as a full disk does."""
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    expected = f"standard output can't be written: {os.strerror(errno.EFBIG)}\n"
    assert run(">file", arguments, before="ulimit -f 0 &&") == (1, expected)
