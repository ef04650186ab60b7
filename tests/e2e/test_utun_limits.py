"""The limit of UDP flows by the macOS code, held to the test of Linux; see utun_router."""

from __future__ import annotations

from pathlib import Path

from tests.e2e import test_udp_limits
from tests.e2e.testbed import V4, Testbed
from tests.e2e.tunrouter import WITH_UTUN


def test_a_lack_of_descriptors_refuses_new_flows_and_keeps_the_old(
    bed: Testbed, tmp_path: Path
) -> None:
    test = test_udp_limits.test_req_11_a_lack_of_descriptors_refuses_new_flows_and_keeps_the_old
    test(bed, V4, tmp_path, offloads=True, program=WITH_UTUN)
