"""`tunrouter init` on a Mac, and where nothing can be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.cli import init as command
from router.config.loader import load
from router.policy.network import Network
from tests.unit.darwin.macbook import macbook


def test_on_a_mac(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "present_network", macbook)
    file = tmp_path / "rules.yaml"
    assert command.init(str(file)) == 0
    config = load(file).config
    assert config is not None
    assert {"home", "utun3"} <= set(config.policies)


def test_where_the_network_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    unread = Network(unread=("the interfaces and routes",), readable=False)
    monkeypatch.setattr(command, "present_network", lambda: unread)
    file = tmp_path / "rules.yaml"
    assert command.init(str(file)) == 1
    assert "rules.example.yaml" in capsys.readouterr().err
    assert not file.exists()
