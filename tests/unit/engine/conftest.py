"""The fixture of most engine tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.engine.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)
