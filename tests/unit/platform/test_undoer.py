"""What is written down is undone by the undoer, by the guard when the undoer is gone, and by
whoever comes next when both are."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from router.platform.linux import leftovers, undo
from router.platform.linux.journal import Journal, as_line, entries_in
from router.platform.linux.undoer import Undoer


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    directory = tmp_path / "run"
    directory.mkdir()
    return directory / "tun11.undo"


def entry(path: Path) -> dict[str, str]:
    """Of a setting that is 2 now and was 1. The undoer has its own idea of where settings are."""
    return undo.sysctl_entry(str(path), "1", "2")


def test_it_undoes_when_its_input_ends_and_leaves_no_file(journal: Path, tmp_path: Path) -> None:
    setting = tmp_path / "ours"
    setting.write_text("2")
    undoer = Undoer(journal)
    undoer.record(entry(setting))
    assert journal.read_bytes() == as_line(entry(setting)), "written before the deed"
    assert undoer.close()
    assert setting.read_text() == "1"
    assert not journal.parent.exists()


def test_the_guard_undoes_what_a_killed_undoer_cannot(journal: Path, tmp_path: Path) -> None:
    setting = tmp_path / "ours"
    setting.write_text("2")
    undoer = Undoer(journal)
    undoer.record(entry(setting))
    os.kill(undoer._process.pid, signal.SIGKILL)
    assert undoer.close()
    assert setting.read_text() == "1"
    assert not journal.exists()


def test_nothing_may_be_done_that_nobody_would_undo(journal: Path, tmp_path: Path) -> None:
    undoer = Undoer(journal)
    os.kill(undoer._process.pid, signal.SIGKILL)
    undoer._process.wait()
    with pytest.raises(ConnectionError):
        undoer.record(entry(tmp_path / "ours"))
    undoer.close()


def test_what_all_have_left_is_undone_by_the_next(
    journal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "runtime_directory", lambda: journal.parent)
    setting = tmp_path / "ours"
    setting.write_text("2")
    left = Journal.begin(journal)
    left.write(as_line(entry(setting)))
    assert list(leftovers.clean_up()) == [], "somebody would still undo it"
    left.close()
    assert list(leftovers.clean_up()) == [(f"{setting} = 1", True)]
    assert setting.read_text() == "1"
    assert not journal.parent.exists()


def test_what_cannot_be_undone_stays_written_down(
    journal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leftovers, "runtime_directory", lambda: journal.parent)
    directory = tmp_path / "ours"
    directory.mkdir()
    journal.write_bytes(as_line(entry(directory)))
    assert list(leftovers.clean_up()) == [(f"{directory} = 1", False)]
    assert journal.exists()


def test_a_run_waits_for_one_of_the_same_name_that_has_just_ended(journal: Path) -> None:
    ended = Journal.begin(journal)
    undoer = Undoer(journal)
    ended.remove()
    undoer.record(entry(journal.parent / "ours"))
    assert journal.read_bytes() == as_line(entry(journal.parent / "ours"))
    assert undoer.close()


def test_a_line_cut_off_is_a_deed_never_done() -> None:
    lines = [b'{"undo": "sysctl"}\n', b'{"undo": "sys']
    assert list(entries_in(lines)) == [{"undo": "sysctl"}]


def test_the_undoer_outlives_signals_for_the_router(journal: Path, tmp_path: Path) -> None:
    undoer = Undoer(journal)
    undoer.record(entry(tmp_path / "ours"))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(undoer._process.pid, number)
    undoer.record(entry(tmp_path / "second"))
    assert undoer.close()
    assert not journal.exists()
