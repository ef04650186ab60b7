from __future__ import annotations

import pytest

from router.config.model import Proxy
from tests.unit.outbound.memory_proxy import Bed


@pytest.fixture
def bed() -> Bed:
    """A proxy without a login."""
    return Bed(Proxy("192.0.2.1", 1080))
