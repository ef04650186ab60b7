"""Errors of the system become messages that say what is wrong and what to do."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from router.cli import run as run_command
from router.platform.linux import guard, undoable
from router.platform.linux.runtime import FULL, RUNTIME
from router.platform.linux.undoable import LINUX
from router.platform.privileged.journal import Journal
from router.platform.privileged.undoer import Undoer
from router.platform.reason import REMEDIES, reason, remedy


@pytest.mark.parametrize("number", [*REMEDIES, errno.EIO], ids=errno.errorcode.get)
def test_each_refusal_has_a_remedy(number: int) -> None:
    assert remedy(OSError(number, ""))
    assert "`" in RUNTIME.remedy(OSError(number, ""))


def test_a_full_file_system_is_looked_for_where_the_files_are() -> None:
    assert RUNTIME.remedy(OSError(errno.ENOSPC, "")) == FULL


def test_a_router_that_cannot_start_its_guard_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    rules = tmp_path / "rules.yaml"
    rules.write_text("version: 1\nrules:\n  - {cidr: 192.0.2.0/24, policy: drop}\n")
    monkeypatch.setattr(run_command, "this_system", refuse)
    monkeypatch.setattr(run_command, "log_to", lambda *_: None)
    assert run_command.run(rules, "info", "text") == 1
    assert "Too many open files: raise the limit of open files (`ulimit -n`" in caplog.text


def test_a_guard_that_cannot_begin_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(guard, "serve", refuse)
    monkeypatch.setattr(guard, "_limit_memory", lambda: None)
    assert guard.main([]) == 1
    assert "the guard cannot go on: Too many open files: raise " in caplog.text


def test_an_undoer_that_has_ended_is_named(tmp_path: Path) -> None:
    started = Undoer(LINUX, tmp_path / "tun11.undo")
    try:
        started._process.kill()
        started._process.wait()
        with pytest.raises(ConnectionError) as caught:
            started.record({"undo": "tun", "name": "tun11", "index": 7})
        assert reason(caught.value) in ("the undoer has ended", os.strerror(errno.EPIPE))
    finally:
        started.close()


def test_a_journal_that_cannot_begin_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> str:
        raise OSError(errno.ENOMEM, "no room")

    monkeypatch.setattr(undoable, "namespace_identity", refuse)
    with pytest.raises(OSError, match="no room"):
        Journal.create(LINUX, tmp_path / "tun11.undo")
    assert list(tmp_path.iterdir()) == []
