"""What most tests of the engine begin with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.engine.world import World, close_worlds


@pytest.fixture(autouse=True)
def _nothing_stays_open() -> Iterator[None]:
    yield
    close_worlds()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)
