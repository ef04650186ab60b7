"""What the TUN carries and is not forwarded is refused at once, and never by the far host.

The far host runs a server at every address: a refusal can only come from the router, and what
slips through is answered.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e import probes
from tests.e2e.capture import Capture
from tests.e2e.netns import Namespace
from tests.e2e.testbed import FAMILIES, Family, Testbed
from tests.e2e.tunrouter import Tunrouter, rules, running

HOSTS = {"reply": 3, "reject": 4, "drop": 5}
UNNAMED = 9

RULES = rules(
    *(f"{family.far(host)} -> {policy}" for family in FAMILIES for policy, host in HOSTS.items())
)
PROHIBITED = {4: "EHOSTUNREACH", 6: "EACCES"}
"""What Linux makes of "administratively prohibited": icmp_err_convert, icmpv6_err_convert."""


@pytest.fixture(scope="module")
def server(bed: Testbed) -> Iterator[None]:
    started = probes.start_server(bed.far)
    yield
    started.close()


@pytest.fixture(scope="module")
def router(
    bed: Testbed, server: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Tunrouter]:
    with running(bed.router, tmp_path_factory.mktemp("rules"), RULES) as started:
        yield started


@pytest.fixture(params=["client", "router"])
def host(request: pytest.FixtureRequest, bed: Testbed, router: Tunrouter) -> Namespace:
    found: Namespace = getattr(bed, request.param)
    return found


@pytest.fixture
def far(bed: Testbed) -> Iterator[Capture]:
    with Capture(bed.far, "tcp or udp") as capture:
        yield capture


def test_without_a_rule_the_server_is_reached(host: Namespace, family: Family) -> None:
    assert probes.tcp(host, family.far(UNNAMED)) == "connected"
    assert probes.udp(host, family.far(UNNAMED)) == "answered"


@pytest.mark.parametrize("policy", ["reject", "reply"])
def test_reject_resets_tcp_and_prohibits_udp(
    host: Namespace, far: Capture, family: Family, policy: str
) -> None:
    address = family.far(HOSTS[policy])
    assert probes.tcp(host, address) == "ECONNREFUSED"
    assert probes.udp(host, address) == PROHIBITED[family.version]
    assert far.packets() == []


def test_drop_is_silence(host: Namespace, far: Capture, family: Family) -> None:
    address = family.far(HOSTS["drop"])
    assert probes.tcp(host, address) == "silence"
    assert probes.udp(host, address) == "silence"
    assert far.packets() == []
