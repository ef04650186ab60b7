"""Recorded changes are undone by the undoer, by the guard when the undoer is gone, and by the next
run when both are."""

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
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from router.platform.base.errors import PlatformError
from router.platform.linux.entries import sysctl_entry
from router.platform.linux.only_on_linux import prlimit
from router.platform.linux.undoable import LINUX
from router.platform.privileged import journal as journals
from router.platform.privileged import recording
from router.platform.privileged import undoer as undoers
from router.platform.privileged.journal import Journal
from router.platform.privileged.socket_files import socket_entry
from router.platform.privileged.undoable import Entry, Watched, as_line
from router.platform.privileged.undoer import Undoer

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
    former = prlimit(pid, resource.RLIMIT_FSIZE)
    prlimit(pid, resource.RLIMIT_FSIZE, (size, former[1]))
    try:
        yield
    finally:
        prlimit(pid, resource.RLIMIT_FSIZE, former)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    directory = tmp_path / "run"
    directory.mkdir()
    return directory / "tun11.undo"


@pytest.fixture
def change(journal: Path) -> Entry:
    """A socket whose file only the undoer removes."""
    path = journal.with_suffix(".sock")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
    return socket_entry(str(path))


def test_it_undoes_when_its_input_ends_and_leaves_no_file(journal: Path, change: Entry) -> None:
    undoer = Undoer(LINUX, journal)
    head = journal.read_bytes()
    undoer.record(change)
    assert journal.read_bytes() == head + as_line(change), "written before the change"
    assert undoer.close()
    assert not journal.parent.exists()


def test_the_guard_undoes_what_a_killed_undoer_cannot(journal: Path, change: Entry) -> None:
    undoer = Undoer(LINUX, journal)
    undoer.record(change)
    os.kill(undoer._process.pid, signal.SIGKILL)
    assert undoer.close()
    assert not journal.parent.exists()


def test_a_change_that_no_process_would_undo_is_refused(journal: Path, change: Entry) -> None:
    undoer = Undoer(LINUX, journal)
    os.kill(undoer._process.pid, signal.SIGKILL)
    undoer._process.wait()
    with pytest.raises(ConnectionError):
        undoer.record(change)
    undoer.close()


def test_a_change_that_was_recorded_but_not_made_does_not_stay_in_the_file(
    journal: Path, change: Entry
) -> None:
    """The undoer is killed between the write and its reply."""
    undoer = Undoer(LINUX, journal)
    Path(change["path"]).unlink()
    os.kill(undoer._process.pid, signal.SIGKILL)
    undoer._process.wait()
    undoer._journal.write(change)
    with pytest.raises(ConnectionError):
        undoer.record(change)
    assert undoer.close()
    assert not journal.parent.exists()


def test_what_could_not_be_undone_is_not_written_down(
    journal: Path, change: Entry, capfd: pytest.CaptureFixture[str]
) -> None:
    undoer = Undoer(LINUX, journal)
    undoer.record(change)
    with pytest.raises(ConnectionError):
        undoer.record(sysctl_entry("../../etc/passwd", "1", "2"))
    undoer._process.wait()
    assert not Path(change["path"]).exists(), "the change is undone"
    undoer.close()
    output = capfd.readouterr().err
    assert "tunrouter: error: changes to undo cannot be recorded: " in output
    assert "Traceback" not in output


def test_for_the_journal_of_systemd_its_errors_have_a_priority(
    journal: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    stream = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{stream.st_dev}:{stream.st_ino}")
    undoer = Undoer(LINUX, journal)
    with pytest.raises(ConnectionError):
        undoer.record(sysctl_entry("../../etc/passwd", "1", "2"))
    undoer._process.wait()
    assert capfd.readouterr().err.startswith("<3>changes to undo cannot be recorded: ")
    monkeypatch.undo()
    undoer.close()


def test_a_journal_that_cannot_be_made_is_named(journal: Path) -> None:
    journal.mkdir()
    with pytest.raises(OSError, match=str(journal)):
        Undoer(LINUX, journal)
    assert journal.is_dir(), "what is in its place stays"


def test_without_room_nothing_begins_and_nothing_is_left(journal: Path) -> None:
    with _full(0, 0), pytest.raises(OSError, match=str(journal)) as refused:
        Undoer(LINUX, journal)
    assert refused.value.errno == errno.EFBIG
    assert not journal.parent.exists()


def test_without_room_for_one_more_change_the_others_are_undone(
    journal: Path, change: Entry, capfd: pytest.CaptureFixture[str]
) -> None:
    undoer = Undoer(LINUX, journal)
    head = journal.read_bytes()
    undoer.record(change)
    another = socket_entry(change["path"] + ".2")
    with _full(undoer._process.pid, journal.stat().st_size + 10):
        for _ in range(2):
            with pytest.raises(OSError, match=str(journal)):
                undoer.record(another)
    written = Journal(LINUX, journal, os.open(journal, os.O_RDONLY))
    assert [line.entry for line in written.lines()] == [change]
    written.close()
    undoer.record(another)
    assert journal.read_bytes() == head + as_line(change) + as_line(another)
    assert undoer.close()
    assert not journal.parent.exists()
    assert capfd.readouterr().err == ""


def test_an_undoer_that_hangs_counts_as_gone(
    journal: Path, change: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    undoer = Undoer(LINUX, journal)
    undoer.record(change)
    monkeypatch.setattr(undoers, "EXIT_TIMEOUT", 0.05)
    undoer._connection.settimeout(0.05)
    os.kill(undoer._process.pid, signal.SIGSTOP)
    with pytest.raises(TimeoutError, match=f"pid {undoer._process.pid}"):
        undoer.record(socket_entry(change["path"] + ".2"))
    poll = select.poll()  # unlike select.select for descriptors of any number
    poll.register(undoer, select.POLLIN)
    assert poll.poll(0), "the guard finds it gone"
    assert undoer.close()
    assert not journal.parent.exists()


def test_an_invalid_entry_stays_when_the_rest_is_undone(journal: Path, change: Entry) -> None:
    """A run of the same name writes below it."""
    journal.write_bytes(b'{"undo": "frobnicate"}\n{"undo": "sysc')
    undoer = Undoer(LINUX, journal)
    undoer.record(change)
    head, named, written = journal.read_bytes().splitlines(keepends=True)
    assert (head, written) == (b'{"undo": "frobnicate"}\n', as_line(change))
    assert undoer.close()
    assert journal.read_bytes() == head + named
    undoer = Undoer(LINUX, journal)
    undoer.record(change)
    os.kill(undoer._process.pid, signal.SIGKILL)
    assert undoer.close()
    assert journal.read_bytes() == head + named


def test_a_run_waits_for_one_of_the_same_name_that_has_just_ended(
    journal: Path, change: Entry
) -> None:
    ended = Journal.create(LINUX, journal)
    begun: list[Undoer] = []
    begins = threading.Thread(target=lambda: begun.append(Undoer(LINUX, journal)))
    begins.start()
    ended.remove_entries([])
    ended.close()
    begins.join()
    (undoer,) = begun
    head = journal.read_bytes()
    undoer.record(change)
    assert journal.read_bytes() == head + as_line(change)
    assert undoer.close()


def test_a_run_of_the_same_name_that_does_not_end_is_named(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "LOCK_TIMEOUT", 0.05)
    command = [sys.executable, "-c", LOCKED, str(journal)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as former:
        assert former.stdout is not None
        former.stdout.readline()
        with pytest.raises(PlatformError) as refused:
            Undoer(LINUX, journal)
        former.communicate()
    assert f"a former run has not ended: pid {former.pid}, " in str(refused.value)
    assert f"{journal} locked; end it (sudo kill -KILL {former.pid})" in str(refused.value)


def test_the_journal_of_another_run_is_never_changed(journal: Path, change: Entry) -> None:
    ours = Journal.create(LINUX, journal)
    ours.write(change)
    journal.unlink()
    journal.write_bytes(as_line(change))
    ours.remove_entries([change])
    ours.close()
    assert journal.read_bytes() == as_line(change)


def test_the_undoer_ignores_signals_for_the_router(journal: Path, change: Entry) -> None:
    undoer = Undoer(LINUX, journal)
    undoer.record(change)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(undoer._process.pid, number)
    undoer.record(socket_entry(change["path"] + ".2"))
    assert undoer.close()
    assert not journal.exists()


def test_the_end_of_the_router_ends_the_input_of_a_guard_that_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recording, "GRACE", 0.0)
    ours, guard = socket.socketpair()
    router, process = os.pipe()
    monkeypatch.setattr(recording, "CONNECTION", ours.fileno())
    guard.send(b"a line")
    assert recording._has_input(router)
    os.close(process)
    assert recording._has_input(router), "what the guard is still doing is recorded"
    ours.recv(100)
    assert not recording._has_input(router)
    guard.close()
    assert recording._has_input(router), "the end of the input"
    assert recording._has_input(None)
    ours.close()
    os.close(router)


def test_an_undoer_is_told_of_the_router(journal: Path, change: Entry) -> None:
    router, process = os.pipe()
    undoer = Undoer(LINUX, journal, Watched(str(router), [router]))
    os.close(process)
    undoer.record(change)
    assert undoer.close()
    assert not journal.parent.exists()
    os.close(router)


def failing_once(call: str, number: int) -> Callable[..., object]:
    """A function of a module, whose first call fails."""
    module, _, name = call.partition(".")
    carry_out = getattr(sys.modules[module], name)
    failures = [OSError(number, os.strerror(number))]

    def fail_once(*arguments: object) -> object:
        if failures:
            raise failures.pop()
        return carry_out(*arguments)

    return fail_once


@pytest.mark.parametrize("call", ["os.fstat", "fcntl.flock", "os.pwrite"])
def test_a_journal_that_cannot_be_begun_leaves_no_file(
    journal: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a call to the system fails once, for want of memory."""
    with monkeypatch.context() as patched:
        patched.setattr(call, failing_once(call, errno.ENOMEM))
        with pytest.raises(OSError, match="memory"):
            Journal.create(LINUX, journal)
    assert not journal.exists()
    Journal.create(LINUX, journal).close()


def test_a_journal_that_is_locked_stays_when_another_cannot_be_begun(
    journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "LOCK_TIMEOUT", 0.0)
    with closing(Journal.create(LINUX, journal)):
        before = journal.read_bytes()
        with pytest.raises(PlatformError):
            Journal.create(LINUX, journal)
        assert journal.read_bytes() == before


@pytest.mark.parametrize("call", ["os.pwrite", "os.ftruncate"])
@pytest.mark.parametrize("appends", [True, False])
def test_what_cannot_be_written_to_the_journal_leaves_it_as_it_was(
    journal: Path, change: Entry, call: str, appends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = socket_entry(change["path"] + ".2")
    with closing(Journal.create(LINUX, journal)) as written:
        written.write(change)
        written.write(other)
        before = journal.read_bytes()
        with monkeypatch.context() as patched:
            patched.setattr(call, failing_once(call, errno.ENOSPC))
            with pytest.raises(OSError, match=str(journal)):
                if appends:
                    written.write(change)
                else:
                    written.remove_entries([change])
        assert journal.read_bytes() == before
