"""TCP by the macOS code, held to the tests of Linux: errors of attempts to connect, which arrive at
raw ICMP sockets alone, refusals, keepalive and urgent bytes; see utun_router."""

from __future__ import annotations

import pytest

from tests.e2e import tcp_bed, test_refusals, test_tcp_outcomes
from tests.e2e.capture import Capture
from tests.e2e.netns import Namespace
from tests.e2e.test_refusals import (
    expect_silence,
    far,  # noqa: F401 - fixtures
    host,  # noqa: F401
    server,  # noqa: F401
    test_other_protocols_are_refused_as_by_a_host_without_them,  # noqa: F401 - here too
    test_reject_resets_tcp_and_prohibits_udp,  # noqa: F401
    test_without_a_rule_the_server_is_reached,  # noqa: F401
)
from tests.e2e.test_tcp_keepalive import (
    frequent_probes,  # noqa: F401 - a fixture
    test_a_far_end_without_the_connection_resets_it,  # noqa: F401 - here too
    test_a_live_client_is_probed_when_the_far_end_probes,  # noqa: F401
    test_a_live_far_end_answers_every_probe_itself,  # noqa: F401
    test_a_silent_client_is_detected,  # noqa: F401
    test_a_silent_far_end_is_detected,  # noqa: F401
    test_a_silent_far_end_is_detected_after_a_half_close,  # noqa: F401
)
from tests.e2e.test_tcp_outcomes import (
    failing,  # noqa: F401 - a fixture
    test_a_dial_ends_after_its_client_has_closed,  # noqa: F401 - here too
    test_a_router_on_the_way_that_has_no_route,  # noqa: F401
    test_every_outbound_from_every_client,  # noqa: F401
    test_refused_by_a_packet_filter_on_the_way,  # noqa: F401
    test_silence_stays_silence,  # noqa: F401
    test_success,  # noqa: F401
)
from tests.e2e.test_tcp_urgent import (
    test_an_urgent_byte,  # noqa: F401 - here too
    test_an_urgent_byte_that_comes_before_the_relay_does,  # noqa: F401
)
from tests.e2e.testbed import Family
from tests.e2e.tunrouter import WITH_UTUN, relayed, rules_of_all

RULES = relayed(rules_of_all(test_tcp_outcomes.RULES, tcp_bed.RULES, test_refusals.RULES))
pytestmark = [
    pytest.mark.rules(RULES),
    pytest.mark.usefixtures("server", "frequent_probes", "router"),
]


@pytest.fixture(scope="module")
def program() -> tuple[str, ...]:
    return WITH_UTUN


@pytest.mark.parametrize("host", ["client"], indirect=True)
def test_drop_is_silence(host: Namespace, far: Capture, family: Family) -> None:  # noqa: F811
    expect_silence(host, far, family)
