"""The runtime directory is shared with other routers, which may remove it at any time."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.platform.linux.operations import tun


def test_a_directory_that_a_former_run_removes_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []

    def make() -> Path:
        directory = tmp_path / "net-1"
        if made:
            directory.mkdir(parents=True)
        made.append(directory)
        return directory

    monkeypatch.setattr(tun, "make_runtime_directory", make)
    undoer = tun.start_undoer("tun11")
    assert len(made) == 2
    assert (made[1] / "tun11.undo").exists()
    assert undoer.close()
    assert not made[1].exists()
