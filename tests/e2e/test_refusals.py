"""What the TUN carries and is not forwarded is refused at once, and never by the far host.

The far host runs a server at every address: a refusal can only come from the router, and what
slips through is answered.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from functools import partial

import pytest

from tests.e2e import probes, sockets, status
from tests.e2e.capture import Capture, Seen
from tests.e2e.netns import Namespace
from tests.e2e.tcp_bed import alongside
from tests.e2e.testbed import FAMILIES, Family, Testbed
from tests.e2e.tunrouter import Tunrouter, relayed, rules, running
from tests.e2e.wait import BOUND_S

HOSTS = {"reply": 3, "reject": 4, "drop": 5, "home": 6}
CARRIED = HOSTS["home"]
UNNAMED = 9

RULES = relayed(
    rules(
        *(
            f"{family.far(host)} -> {policy}"
            for family in FAMILIES
            for policy, host in HOSTS.items()
        )
    )
)
REFUSED = {4: errno.ENOPROTOOPT, 6: errno.EPROTO}
"""What Linux makes of "protocol unreachable" and of "unrecognized next header"."""
PROHIBITED = {4: "EHOSTUNREACH", 6: "EACCES"}
"""What Linux makes of "administratively prohibited": icmp_err_convert, icmpv6_err_convert."""


@pytest.fixture(scope="module")
def server(bed: Testbed) -> Iterator[None]:
    started = probes.start_server(bed.far)
    yield
    started.close()


@pytest.fixture(scope="module", params=[True, False], ids=["offloads", "plain"])
def router(
    request: pytest.FixtureRequest,
    bed: Testbed,
    server: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Tunrouter]:
    directory = tmp_path_factory.mktemp("rules")
    with running(bed.router, directory, relayed(RULES), offloads=request.param) as started:
        yield started


@pytest.fixture(params=["client", "router"])
def host(request: pytest.FixtureRequest, bed: Testbed, router: Tunrouter) -> Namespace:
    found: Namespace = getattr(bed, request.param)
    return found


@pytest.fixture
def far(bed: Testbed) -> Iterator[Capture]:
    with Capture(bed.far, "tcp or udp") as capture:
        yield capture


def _sent_to(address: str, far: Capture) -> list[Seen]:
    """What has arrived for an address; the end of an earlier connection may still come."""
    return [seen for seen in far.packets() if seen.destination.rpartition(".")[0] == address]


def test_without_a_rule_the_server_is_reached(
    host: Namespace, far: Capture, family: Family
) -> None:
    address = family.far(UNNAMED)
    assert probes.tcp(host, address) == "connected"
    assert probes.udp(host, address) == "answered"
    assert _sent_to(address, far)


@pytest.mark.parametrize("policy", ["reject", "reply"])
def test_reject_resets_tcp_and_prohibits_udp(
    host: Namespace, far: Capture, family: Family, policy: str
) -> None:
    address = family.far(HOSTS[policy])
    assert probes.tcp(host, address) == "ECONNREFUSED"
    assert probes.udp(host, address) == PROHIBITED[family.version]
    assert _sent_to(address, far) == []


def test_other_protocols_are_refused_as_by_a_host_without_them(
    bed: Testbed, family: Family, host: Namespace, router: Tunrouter
) -> None:
    """Protocol unreachable, and counted: the far host answers SCTP with the same."""

    def error(address: str) -> int | None:
        kind = socket.AF_INET if family.version == 4 else socket.AF_INET6
        make = partial(socket.socket, kind, socket.SOCK_RAW, socket.IPPROTO_SCTP)
        with sockets.within(host, make) as sock:
            sock.settimeout(BOUND_S)
            sock.connect((address, 0))
            sock.send(bytes(12))
            with pytest.raises(OSError) as refused:
                sock.recv(100)
            return refused.value.errno

    with Capture(bed.far, "sctp") as far:
        assert error(family.far(CARRIED)) == error(family.far(UNNAMED)) == REFUSED[family.version]
        arrived = {seen.destination for seen in far.packets()}
    assert {address.removesuffix(".0") for address in arrived} == {family.far(UNNAMED)}
    assert status.read_status(bed.router)["drops"]["protocol-refused"] > 0


@pytest.mark.parametrize("router", [True], ids=["offloads"], indirect=True)
def test_drop_is_silence(host: Namespace, far: Capture, family: Family) -> None:
    expect_silence(host, far, family)


def expect_silence(host: Namespace, far: Capture, family: Family) -> None:
    """Of TCP and UDP at the same time, as each takes a second."""
    address = family.far(HOSTS["drop"])

    def expect_none_of_tcp() -> None:
        assert probes.tcp(host, address, patience=probes.BRIEF_S) == "silence"

    with alongside(expect_none_of_tcp):
        assert probes.udp(host, address, patience=probes.BRIEF_S) == "silence"
    assert _sent_to(address, far) == []
