"""The control socket's file: whose it is, and what is left when its router is gone."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from router.platform.base import PlatformError
from router.platform.linux import control_socket as module
from router.platform.linux import undo
from router.platform.linux.control_socket import control_socket, control_sockets, directory
from router.platform.linux.undo import Undoer


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "RUN", tmp_path / "tunrouter")
    return tmp_path / "tunrouter"


@pytest.fixture
def undoer() -> Iterator[Undoer]:
    undoer = Undoer()
    yield undoer
    undoer.close()


def test_only_its_owner_may_connect(run: Path, undoer: Undoer) -> None:
    former = os.umask(0)
    try:
        with control_socket("tun11", undoer):
            found = (directory() / "tun11.sock").stat()
            assert stat.S_ISSOCK(found.st_mode)
            assert stat.S_IMODE(found.st_mode) == 0o600
            assert stat.S_IMODE(run.stat().st_mode) == 0o755
    finally:
        os.umask(former)


def test_nothing_is_left_in_the_end(run: Path) -> None:
    undoer = Undoer()
    control_socket("tun11", undoer).close()
    assert list(control_sockets()) == ["tun11"]
    assert undoer.close()
    assert control_sockets() == {}
    assert not run.exists()


def test_the_last_router_removes_the_directory(run: Path) -> None:
    first, last = Undoer(), Undoer()
    with control_socket("tun1", first), control_socket("tun2", last):
        assert list(control_sockets()) == ["tun1", "tun2"]
        assert first.close()
        assert list(control_sockets()) == ["tun2"]
        assert last.close()
    assert not run.exists()


def test_a_dead_routers_socket_is_replaced_and_not_removed_by_its_undoer(run: Path) -> None:
    dead, living = Undoer(), Undoer()
    control_socket("tun11", dead).close()
    with control_socket("tun11", living):
        assert dead.close()
        assert list(control_sockets()) == ["tun11"]
        assert living.close()
    assert not run.exists()


def test_a_living_routers_socket_is_not_touched(run: Path, undoer: Undoer) -> None:
    with control_socket("tun11", undoer):
        before = control_sockets()["tun11"].stat().st_ino
        with pytest.raises(PlatformError, match=r"another router answers at .*/tun11\.sock"):
            control_socket("tun11", undoer)
        assert control_sockets()["tun11"].stat().st_ino == before


def test_a_directory_that_others_may_write_to_is_refused(run: Path, undoer: Undoer) -> None:
    run.mkdir()
    run.chmod(0o777)
    with pytest.raises(PlatformError, match=re.escape(f"{run} is not a directory that only root")):
        control_socket("tun11", undoer)
    run.rmdir()
    run.symlink_to("/tmp")
    with pytest.raises(PlatformError, match="is not a directory that only root"):
        control_socket("tun11", undoer)


def test_a_path_that_cannot_be_made_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undoer: Undoer
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(module, "RUN", tmp_path / "file" / "tunrouter")
    with pytest.raises(
        PlatformError, match=r"no control socket can be made in .*: Not a directory"
    ):
        control_socket("tun11", undoer)


def test_another_namespace_has_a_directory_of_its_own(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, first = tmp_path / "own", tmp_path / "first"
    own.write_text("")
    monkeypatch.setattr(module, "OWN_NAMESPACE", own)
    monkeypatch.setattr(module, "FIRST_NAMESPACE", own)
    assert directory() == run
    first.write_text("")
    monkeypatch.setattr(module, "FIRST_NAMESPACE", first)
    apart = run / f"net-{own.stat().st_ino}"
    assert directory() == apart
    monkeypatch.setattr(module, "FIRST_NAMESPACE", tmp_path / "not to be seen")
    assert directory() == run
    apart.mkdir(parents=True)
    assert directory() == apart


def test_what_is_not_a_socket_or_not_empty_stays(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    assert undo.undo([undo.directory_entry(str(tmp_path)), undo.socket_entry(str(file))])
    assert file.exists()
