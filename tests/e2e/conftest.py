"""Fixtures of the end-to-end tests: the test bed, and the demand for root."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from types import FrameType

import pytest

from tests.e2e import netns
from tests.e2e.testbed import FAMILIES, Family, Testbed, opened_testbed


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@pytest.fixture(scope="session", autouse=True)
def _root() -> None:
    """The tests need root and say so: a skipped test would look like a passed one."""
    if os.geteuid() != 0:
        pytest.fail("the end-to-end tests need root: run `make e2e`", pytrace=False)
    signal.signal(signal.SIGTERM, _interrupt)  # so that a terminated run cleans up as well
    netns.sweep()


@pytest.fixture(scope="module")
def bed(_root: None) -> Iterator[Testbed]:
    with opened_testbed() as opened:
        yield opened


@pytest.fixture(params=FAMILIES, ids=str)
def family(request: pytest.FixtureRequest) -> Family:
    found: Family = request.param
    return found
