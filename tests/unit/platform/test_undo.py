"""Recorded changes are undone, and nothing else."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from router.platform.linux import undo
from router.platform.linux.entries import sysctl_entry, tun_entry
from router.platform.linux.netlink.links import delete_link
from router.platform.linux.netlink.request import Request
from router.platform.linux.undoable import LINUX
from router.platform.privileged.undoable import Entry, undo_all


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(undo, "SYSCTL", tmp_path)
    return tmp_path


def test_only_what_is_as_we_left_it_is_restored(settings: Path) -> None:
    (settings / "ours").write_text("2\n")
    (settings / "changed").write_text("0\n")
    entries = [sysctl_entry(name, "1", "2") for name in ("ours", "changed", "gone")]
    assert undo_all(LINUX, entries) == entries[::-1]
    assert (settings / "ours").read_text() == "1"
    assert (settings / "changed").read_text() == "0\n"


def test_the_last_is_undone_first(settings: Path) -> None:
    (settings / "twice").write_text("3")
    undo_all(LINUX, [sysctl_entry("twice", "1", "2"), sysctl_entry("twice", "2", "3")])
    assert (settings / "twice").read_text() == "1"


def test_a_failure_is_reported_and_does_not_stop_the_rest(
    settings: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (settings / "directory").mkdir()
    (settings / "ours").write_text("2")
    ours: Entry = sysctl_entry("ours", "1", "2")
    assert undo_all(LINUX, [ours, sysctl_entry("directory", "1", "2")]) == [ours]
    assert (settings / "ours").read_text() == "1"
    assert "directory" in caplog.text


@pytest.mark.parametrize(
    ("present", "deleted"), [("tun11", [7]), ("other", []), (None, [])], ids=str
)
def test_only_the_tun_of_the_same_name_and_index_is_deleted(
    present: str | None, deleted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def name_of(index: int) -> str:
        assert index == 7
        if present is None:
            raise OSError
        return present

    found: list[Request] = []
    monkeypatch.setattr(socket, "if_indextoname", name_of)
    monkeypatch.setattr(undo, "request", found.append)
    entry = tun_entry("tun11", 7)
    assert undo_all(LINUX, [entry]) == [entry]
    assert found == [delete_link(index) for index in deleted]
