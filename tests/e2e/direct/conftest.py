"""The fixture of the tests about the direct path: a router that programs go by directly."""

from __future__ import annotations

from functools import partial

import pytest

from tests.e2e.direct.ends import is_direct
from tests.e2e.testbed import FAMILIES, Testbed
from tests.e2e.tunrouter import Tunrouter
from tests.e2e.udp import HOME, OFFICE
from tests.e2e.wait import wait_until


@pytest.fixture(scope="module")
def direct(bed: Testbed, router: Tunrouter, udp_servers: None) -> Tunrouter:
    for family in FAMILIES:
        for first in (HOME, OFFICE):
            reached = partial(is_direct, bed, family, family.far(first + 15))
            wait_until(reached, "the direct path")
    return router
