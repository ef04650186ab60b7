"""The fixture of the tests about the web process: one that is served."""

from __future__ import annotations

import pytest

from tests.e2e.testbed import Testbed
from tests.e2e.tunrouter import Tunrouter
from tests.e2e.wait import wait_until
from tests.e2e.web.web_client import is_served


@pytest.fixture(scope="module")
def served(bed: Testbed, router: Tunrouter) -> Tunrouter:
    wait_until(lambda: is_served(bed.router), "the web process", detail=lambda: router.log)
    return router
