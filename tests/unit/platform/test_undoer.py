"""What is written down is undone by the undoer, by the guard when the undoer is gone, and by
whoever comes next when both are."""

from __future__ import annotations

import errno
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from router.platform.base.errors import PlatformError
from router.platform.linux import journal as journals
from router.platform.linux import undoer as undoers
from router.platform.linux.entries import Entry, as_line, socket_entry, sysctl_entry
from router.platform.linux.journal import Journal
from router.platform.linux.undoer import Undoer

LOCKED = """
import fcntl, sys
file = open(sys.argv[1], "w")
fcntl.flock(file, fcntl.LOCK_EX)
print(flush=True)
sys.stdin.read()
"""


@contextmanager
def _full(pid: int, size: int) -> Iterator[None]:
    """As on a file system without room: no file of a process can become longer."""
    former = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, former[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, former)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    directory = tmp_path / "run"
    directory.mkdir()
    return directory / "tun11.undo"


@pytest.fixture
def deed(journal: Path) -> Entry:
    """A socket, of which nobody but the undoer would remove the file."""
    path = journal.with_suffix(".sock")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
    return socket_entry(str(path))


def test_it_undoes_when_its_input_ends_and_leaves_no_file(journal: Path, deed: Entry) -> None:
    undoer = Undoer(journal)
    head = journal.read_bytes()
    undoer.record(deed)
    assert journal.read_bytes() == head + as_line(deed), "written before the deed"
    assert undoer.close()
    assert not journal.parent.exists()


def test_the_guard_undoes_what_a_killed_undoer_cannot(journal: Path, deed: Entry) -> None:
    undoer = Undoer(journal)
    undoer.record(deed)
    os.kill(undoer._process.pid, signal.SIGKILL)
    assert undoer.close()
    assert not journal.parent.exists()


def test_nothing_may_be_done_that_nobody_would_undo(journal: Path, deed: Entry) -> None:
    undoer = Undoer(journal)
    os.kill(undoer._process.pid, signal.SIGKILL)
    undoer._process.wait()
    with pytest.raises(ConnectionError):
        undoer.record(deed)
    undoer.close()


def test_what_could_not_be_undone_is_not_written_down(
    journal: Path, deed: Entry, capfd: pytest.CaptureFixture[str]
) -> None:
    undoer = Undoer(journal)
    undoer.record(deed)
    with pytest.raises(ConnectionError):
        undoer.record(sysctl_entry("../../etc/passwd", "1", "2"))
    undoer._process.wait()
    assert not Path(deed["path"]).exists(), "what had been done is undone"
    undoer.close()
    told = capfd.readouterr().err
    assert "tunrouter: error: what a run does cannot be written down: " in told
    assert "Traceback" not in told


def test_for_the_journal_of_systemd_its_errors_have_a_priority(
    journal: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    stream = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{stream.st_dev}:{stream.st_ino}")
    undoer = Undoer(journal)
    with pytest.raises(ConnectionError):
        undoer.record(sysctl_entry("../../etc/passwd", "1", "2"))
    undoer._process.wait()
    assert capfd.readouterr().err.startswith("<3>what a run does cannot be written down: ")
    monkeypatch.undo()
    undoer.close()


def test_a_journal_that_cannot_be_made_is_named(journal: Path) -> None:
    journal.mkdir()
    with pytest.raises(OSError, match=str(journal)):
        Undoer(journal)
    assert journal.is_dir(), "what is in its place stays"


def test_without_room_nothing_begins_and_nothing_is_left(journal: Path) -> None:
    with _full(0, 0), pytest.raises(OSError, match=str(journal)) as refused:
        Undoer(journal)
    assert refused.value.errno == errno.EFBIG
    assert not journal.parent.exists()


def test_without_room_for_one_more_deed_the_others_are_undone(
    journal: Path, deed: Entry, capfd: pytest.CaptureFixture[str]
) -> None:
    undoer = Undoer(journal)
    head = journal.read_bytes()
    undoer.record(deed)
    another = socket_entry(deed["path"] + ".2")
    with _full(undoer._process.pid, journal.stat().st_size + 10):
        for _ in range(2):
            with pytest.raises(OSError, match=str(journal)):
                undoer.record(another)
    written = Journal(journal, os.open(journal, os.O_RDONLY))
    assert [line.entry for line in written.lines()] == [deed]
    written.close()
    undoer.record(another)
    assert journal.read_bytes() == head + as_line(deed) + as_line(another)
    assert undoer.close()
    assert not journal.parent.exists()
    assert capfd.readouterr().err == ""


def test_one_that_hangs_is_as_good_as_gone(
    journal: Path, deed: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    undoer = Undoer(journal)
    undoer.record(deed)
    monkeypatch.setattr(undoers, "PATIENCE", 0.05)
    undoer._connection.settimeout(0.05)
    os.kill(undoer._process.pid, signal.SIGSTOP)
    with pytest.raises(TimeoutError, match=f"pid {undoer._process.pid}"):
        undoer.record(socket_entry(deed["path"] + ".2"))
    assert select.select([undoer], [], [], 0)[0], "the guard finds it gone"
    assert undoer.close()
    assert not journal.parent.exists()


def test_what_nobody_has_understood_stays_behind_what_is_undone(journal: Path, deed: Entry) -> None:
    """A run of the same name writes below it."""
    journal.write_bytes(b'{"undo": "frobnicate"}\n{"undo": "sysc')
    undoer = Undoer(journal)
    undoer.record(deed)
    head, named, written = journal.read_bytes().splitlines(keepends=True)
    assert (head, written) == (b'{"undo": "frobnicate"}\n', as_line(deed))
    assert undoer.close()
    assert journal.read_bytes() == head + named
    undoer = Undoer(journal)
    undoer.record(deed)
    os.kill(undoer._process.pid, signal.SIGKILL)
    assert undoer.close()
    assert journal.read_bytes() == head + named


def test_a_run_waits_for_one_of_the_same_name_that_has_just_ended(
    journal: Path, deed: Entry
) -> None:
    ended = Journal.begin(journal)
    begun: list[Undoer] = []
    begins = threading.Thread(target=lambda: begun.append(Undoer(journal)))
    begins.start()
    ended.strike_out([])
    ended.close()
    begins.join()
    (undoer,) = begun
    head = journal.read_bytes()
    undoer.record(deed)
    assert journal.read_bytes() == head + as_line(deed)
    assert undoer.close()


def test_a_run_of_the_same_name_that_does_not_end_is_named(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "PATIENCE", 0.05)
    command = [sys.executable, "-c", LOCKED, str(journal)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as former:
        assert former.stdout is not None
        former.stdout.readline()
        with pytest.raises(PlatformError) as refused:
            Undoer(journal)
        former.communicate()
    assert f"a former run has not ended: pid {former.pid}, " in str(refused.value)
    assert f"{journal} locked; end it (sudo kill -KILL {former.pid})" in str(refused.value)


def test_the_journal_of_another_run_is_never_struck_out(journal: Path, deed: Entry) -> None:
    ours = Journal.begin(journal)
    ours.write(deed)
    journal.unlink()
    journal.write_bytes(as_line(deed))
    ours.strike_out([deed])
    ours.close()
    assert journal.read_bytes() == as_line(deed)


def test_the_undoer_outlives_signals_for_the_router(journal: Path, deed: Entry) -> None:
    undoer = Undoer(journal)
    undoer.record(deed)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(undoer._process.pid, number)
    undoer.record(socket_entry(deed["path"] + ".2"))
    assert undoer.close()
    assert not journal.exists()
