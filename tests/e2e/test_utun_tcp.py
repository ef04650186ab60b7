"""TCP by the macOS code: errors of attempts to connect, which arrive at raw ICMP sockets alone, are
held to the tests of those that have an error queue; see utun_router."""

from __future__ import annotations

import pytest

from tests.e2e.test_tcp_outcomes import (
    RULES,
    failing,  # noqa: F401 - a fixture
    test_a_dial_ends_after_its_client_has_closed,  # noqa: F401 - here too
    test_a_router_on_the_way_that_has_no_route,  # noqa: F401
    test_every_outbound_from_every_client,  # noqa: F401
    test_refused_by_a_packet_filter_on_the_way,  # noqa: F401
    test_silence_stays_silence,  # noqa: F401
    test_success,  # noqa: F401
)
from tests.e2e.tunrouter import WITH_UTUN, relayed

pytestmark = [pytest.mark.rules(relayed(RULES)), pytest.mark.usefixtures("router")]


@pytest.fixture(scope="module")
def program() -> tuple[str, ...]:
    return WITH_UTUN
