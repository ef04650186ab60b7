"""The runtime directory is shared with other routers, which may remove it at any time."""

from __future__ import annotations

from pathlib import Path

from router.platform.linux.undoable import LINUX
from router.platform.privileged.runtime import RuntimeDirectory
from router.platform.privileged.undoer import start_undoer


class Removed(RuntimeDirectory):
    """Another router removes it the first time."""

    def make(self) -> Path:
        if not self.path().parent.exists():
            self.path().parent.mkdir()
            return self.path()
        return super().make()


def test_a_directory_that_a_former_run_removes_is_made_again(tmp_path: Path) -> None:
    directory = tmp_path / "run" / "net-1"
    undoer = start_undoer(LINUX, Removed(lambda: (directory,), ""), "tun11")
    assert (directory / "tun11.undo").exists()
    assert undoer.close()
    assert not directory.exists()
