"""`tunrouter lists`: output streams and exit status, run as a program."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = [sys.executable, "-m", "router.cli", "lists"]

OFFICE = """\
# the office
10.0.0.0/25
10.0.0.128 - 10.0.0.255
2001:db8::/33
2001:db8:8000::/33   # the other half
192.0.2.7
"""
LAB = "10.0.0.0-10.0.0.9\n2001:db8::/32\n198.51.100.1\n"


@pytest.fixture(autouse=True)
def _among_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    monkeypatch.chdir(tmp_path)
    Path("office.txt").write_text(OFFICE)
    Path("lab.gz").write_bytes(gzip.compress(LAB.encode()))


def lists(*arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
    """Exit status, standard output, standard error."""
    done = subprocess.run(
        [*PROGRAM, *arguments], input=stdin, capture_output=True, check=False, timeout=60
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_merge() -> None:
    assert lists("merge", "office.txt", "lab.gz") == (
        0,
        "10.0.0.0/24\n192.0.2.7/32\n198.51.100.1/32\n2001:db8::/32\n",
        "",
    )


def test_minus() -> None:
    expected = "10.0.0.0/29\n10.0.0.8/31\n"
    Path("rest.txt").write_text("10.0.0.0-10.0.0.9\n")
    assert lists("minus", "rest.txt", "office.txt") == (0, "", "")
    assert lists("minus", "lab.gz", "-", "rest.txt", stdin=b"198.51.100.0/24\n::/0\n") == (
        0,
        "",
        "",
    )
    assert lists("minus", "rest.txt", "-", stdin=b"# nothing\n") == (0, expected, "")


def test_diff() -> None:
    Path("new.txt").write_text("10.0.0.0/24\n192.0.2.6/31\nfd00::1\n")
    assert lists("diff", "office.txt", "new.txt") == (
        0,
        "- 2001:db8::/32\n+ 192.0.2.6/32\n+ fd00::1/128\n",
        "",
    )
    assert lists("diff", "office.txt", "office.txt") == (0, "", "")


def test_the_output_is_a_list_file() -> None:
    _, printed, _ = lists("merge", "office.txt", "lab.gz")
    assert lists("merge", "-", stdin=printed.encode()) == (0, printed, "")
    assert lists("merge", "-", stdin=gzip.compress(printed.encode())) == (0, printed, "")
    Path("printed.txt").write_text(printed)
    _, difference, _ = lists("diff", "printed.txt", "office.txt")
    assert difference == "- 198.51.100.1/32\n"


def test_a_pipe_is_read_as_a_file_is() -> None:
    os.mkfifo("pipe")
    with subprocess.Popen([*PROGRAM, "merge", "pipe"], stdout=subprocess.PIPE) as process:
        Path("pipe").write_text("10.0.0.0/8\n")
        printed, _ = process.communicate(timeout=60)
    assert (process.returncode, printed) == (0, b"10.0.0.0/8\n")


def test_a_repetition_is_no_problem_and_a_host_bit_is_one() -> None:
    status, printed, errors = lists("merge", "-", stdin=b"10.0.0.0/8\n10.0.0.0/8\n10.1.2.3/8\n")
    assert (status, printed) == (0, "10.0.0.0/8\n")
    assert errors.count("warning") == 1
    assert "<stdin>:3:1: warning[host-bits-set]" in errors


def test_all_problems_of_all_files_and_nothing_else() -> None:
    Path("bad.txt").write_text("10.0.0.0/8\n10.0.0.300\n10.0.0.9-10.0.0.1\n")
    assert lists("merge", "absent.txt", "bad.txt", "office.txt", ".", "office.txt/x") == (
        2,
        "",
        """\
error[missing-list]: there is no list file 'absent.txt'
help: create it or correct the path
bad.txt:2:1: error[bad-list-line]: '300' in '10.0.0.300' is over 255
10.0.0.300
^^^^^^^^^^
help: each of the four numbers goes from 0 to 255
bad.txt:3:1: error[bad-range]: the range '10.0.0.9-10.0.0.1' ends before it begins
10.0.0.9-10.0.0.1
^^^^^^^^^^^^^^^^^
help: swap its ends: 10.0.0.1-10.0.0.9
error[unreadable-list]: the list '.' can't be read: Is a directory
help: name a file with one network or range a line
error[missing-list]: there is no list file 'office.txt/x'
help: create it or correct the path
""",
    )


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (bytes(range(256)) * 40, "bad-list-line"),
        (b"\0" * 100_000, "unreadable-list"),
        ("10.0.0.0/8\n".encode("utf-16"), "unreadable-list"),
        (gzip.compress(LAB.encode() * 100)[:-9], "unreadable-list"),
    ],
    ids=["binary", "no line end", "UTF-16", "cut off"],
)
def test_files_that_are_not_lists(content: bytes, code: str) -> None:
    Path("list.txt").write_bytes(content)
    for arguments, stdin in (("list.txt", b""), ("-", content)):
        status, printed, errors = lists("merge", arguments, stdin=stdin)
        assert (status, printed) == (2, "")
        assert f"error[{code}]" in errors
        assert "Traceback" not in errors


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["merge"],
        ["minus", "office.txt"],
        ["diff", "office.txt"],
        ["diff", "office.txt", "office.txt", "office.txt"],
        ["join", "office.txt"],
        ["merge", "-", "-"],
        ["minus", "-", "office.txt", "-"],
        ["diff", "-", "-"],
    ],
    ids=" ".join,
)
def test_invalid_arguments(arguments: list[str]) -> None:
    status, printed, errors = lists(*arguments, stdin=b"10.0.0.0/8\n")
    assert (status, printed) == (2, "")
    assert errors.startswith(("usage: tunrouter", "tunrouter lists"))
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    "files", [["-", "/dev/stdin"], ["/dev/stdin", "/dev/stdin"], ["pipe", "pipe"]], ids=" ".join
)
def test_a_stream_can_be_read_once_only(files: list[str]) -> None:
    os.mkfifo("pipe")
    status, printed, errors = lists("merge", *files, stdin=b"10.0.0.0/8\n")
    assert (status, printed) == (2, "")
    assert errors == (
        f"tunrouter lists merge: {files[1]!r} is a stream named twice, and can be read once only: "
        "name a file instead\n"
    )


def test_what_can_be_read_again_may_be_named_twice() -> None:
    program = [*PROGRAM, "merge", "-", "list.txt", "list.txt", "/dev/null", "/dev/null"]
    Path("list.txt").write_text("10.0.0.0/8\n")
    with Path("list.txt").open("rb") as stdin:
        done = subprocess.run(program, stdin=stdin, capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"10.0.0.0/8\n", b"")


def test_a_closed_standard_input() -> None:
    command = 'exec "$@" <&-'
    done = subprocess.run(
        ["sh", "-c", command, "sh", *PROGRAM, "merge", "-"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        "error[unreadable-list]: the list '<stdin>' can't be read: the standard input is closed"
        in (done.stderr)
    )


def test_a_pipe_closed_by_its_reader_is_no_failure() -> None:
    Path("long.txt").write_text("".join(f"10.{n >> 8}.{n & 255}.1\n" for n in range(20_000)))
    with subprocess.Popen(
        [*PROGRAM, "merge", "long.txt"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"10.0.0.1/32\n"
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0
