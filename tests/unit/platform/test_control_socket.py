"""The control socket's file: its owner, and what is left when its router has ended."""

from __future__ import annotations

import os
import re
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from router.platform.base.errors import PlatformError
from router.platform.linux import runtime
from router.platform.linux.runtime import RUNTIME, runtime_directory
from router.platform.linux.undoable import LINUX
from router.platform.privileged.control_socket import control_socket
from router.platform.privileged.undoer import Undoer


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Under a short name: the path of a socket has 107 bytes at most (unix(7))."""
    with tempfile.TemporaryDirectory(prefix="tr-") as directory:
        path = Path(directory, "tunrouter")
        monkeypatch.setattr(runtime, "RUN", path)
        yield path


def undoer_of(tun: str) -> Undoer:
    return Undoer(LINUX, RUNTIME.make() / f"{tun}.undo")


@pytest.fixture
def undoer(run: Path) -> Iterator[Undoer]:
    undoer = undoer_of("tun11")
    yield undoer
    undoer.close()


def test_only_its_owner_may_connect(run: Path, undoer: Undoer) -> None:
    former = os.umask(0)
    try:
        with control_socket(RUNTIME, "tun11", undoer):
            found = (runtime_directory() / "tun11.sock").stat()
            assert stat.S_ISSOCK(found.st_mode)
            assert stat.S_IMODE(found.st_mode) == 0o600
            for directory in (run, runtime_directory()):
                assert stat.S_IMODE(directory.stat().st_mode) == 0o755
    finally:
        os.umask(former)


def test_nothing_is_left_in_the_end(run: Path) -> None:
    undoer = undoer_of("tun11")
    control_socket(RUNTIME, "tun11", undoer).close()
    assert list(RUNTIME.sockets()) == ["tun11"]
    assert undoer.close()
    assert RUNTIME.sockets() == {}
    assert not run.exists()


def test_the_last_router_removes_the_directory(run: Path) -> None:
    first, last = undoer_of("tun1"), undoer_of("tun2")
    with control_socket(RUNTIME, "tun1", first), control_socket(RUNTIME, "tun2", last):
        assert list(RUNTIME.sockets()) == ["tun1", "tun2"]
        assert first.close()
        assert list(RUNTIME.sockets()) == ["tun2"]
        assert last.close()
    assert not run.exists()


def test_the_socket_of_an_ended_router_is_replaced_and_not_removed_by_its_undoer(run: Path) -> None:
    dead, living = undoer_of("dead"), undoer_of("tun11")
    control_socket(RUNTIME, "tun11", dead).close()
    with control_socket(RUNTIME, "tun11", living):
        assert dead.close()
        assert list(RUNTIME.sockets()) == ["tun11"]
        assert living.close()
    assert not run.exists()


def test_the_socket_of_a_running_router_is_not_touched(run: Path, undoer: Undoer) -> None:
    with control_socket(RUNTIME, "tun11", undoer):
        before = RUNTIME.sockets()["tun11"].stat().st_ino
        with pytest.raises(PlatformError, match=r"another router answers at .*/tun11\.sock"):
            control_socket(RUNTIME, "tun11", undoer)
        assert RUNTIME.sockets()["tun11"].stat().st_ino == before


def test_a_directory_that_others_may_write_to_is_refused(run: Path) -> None:
    run.mkdir()
    run.chmod(0o777)
    with pytest.raises(PlatformError, match=re.escape(f"{run} is not a directory that only root")):
        RUNTIME.make()
    run.rmdir()
    run.symlink_to("/tmp")
    with pytest.raises(PlatformError, match="is not a directory that only root"):
        RUNTIME.make()


def test_a_path_that_cannot_be_made_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undoer: Undoer
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(runtime, "RUN", tmp_path / "file" / "tunrouter")
    with pytest.raises(
        PlatformError, match=r"no control socket can be made at .*: Not a directory"
    ):
        control_socket(RUNTIME, "tun11", undoer)


def test_another_namespace_has_a_directory_of_its_own(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, other = tmp_path / "own", tmp_path / "other"
    for namespace in (own, other):
        namespace.write_text("")
    monkeypatch.setattr(runtime, "NAMESPACE", own)
    here = runtime_directory()
    monkeypatch.setattr(runtime, "NAMESPACE", other)
    assert here != runtime_directory()
    assert here.parent == runtime_directory().parent == run
