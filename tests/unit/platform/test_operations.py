"""What the guard does in its own place, where another router may do something at the same time."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.platform.linux import operations


def test_a_directory_that_a_former_run_removes_meanwhile_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []

    def make() -> Path:
        directory = tmp_path / "net-1"
        if made:
            directory.mkdir(parents=True)
        made.append(directory)
        return directory

    monkeypatch.setattr(operations, "make_runtime_directory", make)
    undoer = operations._undoer("tun11")
    assert len(made) == 2
    assert (made[1] / "tun11.undo").exists()
    assert undoer.close()
    assert not made[1].exists()
