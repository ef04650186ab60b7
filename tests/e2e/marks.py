"""Parameters that tests of several files have in common."""

from __future__ import annotations

from typing import Final

import pytest

WITH_AND_WITHOUT_OFFLOADS: Final = pytest.mark.parametrize(
    "offloads", [True, False], ids=["offloads", "plain"], scope="module"
)
"""For tests that pass `offloads` to running(), and for modules that use the fixture `router`."""
