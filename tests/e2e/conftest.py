"""Fixtures of the end-to-end tests: the test bed, and the demand for root."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from types import FrameType

import pytest

from tests.e2e import netns
from tests.e2e.testbed import FAMILIES, Family, Testbed, opened_testbed


def pytest_collection_modifyitems() -> None:
    """The tests demand root at once: a skipped test would look like a passed one."""
    if os.geteuid() != 0:
        raise pytest.UsageError(
            "the end-to-end tests need root: run `make e2e` (or `make check`, which needs none)"
        )


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@pytest.fixture(scope="session", autouse=True)
def _clean() -> None:
    """What killed runs left is removed first, and a run that is terminated cleans up as well."""
    signal.signal(signal.SIGTERM, _interrupt)
    netns.sweep()


@pytest.fixture(scope="module")
def bed(_clean: None) -> Iterator[Testbed]:
    with opened_testbed() as opened:
        yield opened


@pytest.fixture(params=FAMILIES, ids=str)
def family(request: pytest.FixtureRequest) -> Family:
    found: Family = request.param
    return found
