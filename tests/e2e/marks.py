"""Parameters that tests of several files have in common."""

from __future__ import annotations

from typing import Final

import pytest

from tests.e2e.tunrouter import PROGRAM, WITHOUT_TCX

WITH_AND_WITHOUT_OFFLOADS: Final = pytest.mark.parametrize(
    "offloads", [True, False], ids=["offloads", "plain"], scope="module"
)
"""For tests that pass `offloads` to running(), and for modules that use the fixture `router`."""

WITH_AND_WITHOUT_TCX: Final = pytest.mark.parametrize(
    "program", [(PROGRAM,), WITHOUT_TCX], ids=["ingress", "socket"], scope="module"
)
"""The same for `program`: answers are counted at the ingress of interfaces, or by sockets."""
