"""What is written down is undone by the undoer, by the guard when the undoer is gone, and by
whoever comes next when both are."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from router.platform.linux.entries import Entry, as_line, socket_entry, sysctl_entry
from router.platform.linux.journal import Journal
from router.platform.linux.undoer import Undoer


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
    undoer.record(deed)
    assert journal.read_bytes() == as_line(deed), "written before the deed"
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
    journal.mkdir()
    undoer = Undoer(journal)
    undoer._process.wait()
    assert capfd.readouterr().err.startswith("<3>what a run does cannot be written down: ")
    monkeypatch.undo()
    undoer.close()


def test_a_journal_that_cannot_be_made_is_named(
    journal: Path, deed: Entry, capfd: pytest.CaptureFixture[str]
) -> None:
    journal.mkdir()
    undoer = Undoer(journal)
    with pytest.raises(ConnectionError):
        undoer.record(deed)
    assert not undoer.close(), "nothing was done, and what is in its place stays"
    told = capfd.readouterr().err
    assert str(journal) in told
    assert "Traceback" not in told


def test_what_nobody_has_understood_stays_behind_what_is_undone(journal: Path, deed: Entry) -> None:
    """A run of the same name writes below it."""
    journal.write_bytes(b'{"undo": "frobnicate"}\n{"undo": "sysc')
    undoer = Undoer(journal)
    undoer.record(deed)
    assert journal.read_bytes() == b'{"undo": "frobnicate"}\n' + as_line(deed)
    assert undoer.close()
    assert journal.read_bytes() == b'{"undo": "frobnicate"}\n'
    undoer = Undoer(journal)
    undoer.record(deed)
    os.kill(undoer._process.pid, signal.SIGKILL)
    assert undoer.close()
    assert journal.read_bytes() == b'{"undo": "frobnicate"}\n'


def test_a_run_waits_for_one_of_the_same_name_that_has_just_ended(
    journal: Path, deed: Entry
) -> None:
    ended = Journal.begin(journal)
    undoer = Undoer(journal)
    ended.strike_out([])
    ended.close()
    undoer.record(deed)
    assert journal.read_bytes() == as_line(deed)
    assert undoer.close()


def test_the_undoer_outlives_signals_for_the_router(journal: Path, deed: Entry) -> None:
    undoer = Undoer(journal)
    undoer.record(deed)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(undoer._process.pid, number)
    undoer.record(socket_entry(deed["path"] + ".2"))
    assert undoer.close()
    assert not journal.exists()
