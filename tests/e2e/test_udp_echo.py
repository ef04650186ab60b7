"""Datagrams of every size, there and back, by each outbound, as the bare kernel carries them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.capture import Capture
from tests.e2e.marks import WITH_AND_WITHOUT_OFFLOADS
from tests.e2e.netns import Namespace
from tests.e2e.testbed import Family, Testbed
from tests.e2e.tunrouter import Tunrouter, relayed
from tests.e2e.udp import (
    DNS,
    ELSEWHERE,
    HOME,
    OFFICE,
    PATHS,
    RULES,
    exchange,
)

pytestmark = [
    WITH_AND_WITHOUT_OFFLOADS,
    pytest.mark.rules(relayed(RULES)),
    pytest.mark.usefixtures("udp_servers"),
]

SIZES = [0, 1, 1300, 1400, 8000, 65507]
MANY = {HOME: 300, OFFICE: 100}
"""Flows at once. A tunnel in user space loses more than that by itself, also without a router."""


def without(found: list[Any], *fields: str) -> list[Any]:
    return [
        {name: value for name, value in one.items() if name not in fields}
        if isinstance(one, dict)
        else one
        for one in found
    ]


@PATHS
def test_every_size_comes_back_whole(
    sender: Namespace, family: Family, through: int, bare: int
) -> None:
    """RFC 4787 REQ-14 as well: what is longer than the outbound's MTU passes in fragments."""
    # The first datagrams too long for the tunnel may only cause an error to the sender (IPv6).
    exchange(sender, family.far(through), sends=[1400, 1400], expect=0)
    ours = exchange(sender, family.far(through), sends=SIZES).found
    kernel = exchange(sender, family.far(bare), sends=SIZES).found
    assert [one["length"] for one in kernel] == SIZES
    assert without(ours, "sender", "hop_limit") == without(kernel, "sender", "hop_limit")
    assert {tuple(one["sender"]) for one in ours} == {(family.far(through), 7)}
    assert {one["hop_limit"] for one in ours} == {kernel[0]["hop_limit"] - 1}


@PATHS
def test_the_traffic_class_goes_out_and_comes_back(
    sender: Namespace, family: Family, through: int, bare: int
) -> None:
    for address in (family.far(bare), family.far(through)):
        for traffic_class in (0x28, 0xB8):
            (found,) = exchange(sender, address, traffic_class=traffic_class).found
            assert found["traffic_class"] == traffic_class


@pytest.mark.parametrize(
    ("through", "interface"), [(HOME, "home0"), (OFFICE, "vpn0")], ids=["direct", "vpn"]
)
def test_the_far_host_sees_the_outbounds_address_and_the_same_port(
    bed: Testbed, router: Tunrouter, family: Family, through: int, interface: str
) -> None:
    """RFC 4787 REQ-1: one outside endpoint for all destinations; the port is kept where free."""
    own = family.eth0 if through == HOME else family.wg0
    with Capture(bed.far, f"udp and src {own}") as far:
        for number in (0, 1):
            exchange(bed.client, family.far(through + number), source_port=5353)
        seen = {(packet.interface, packet.source) for packet in far.packets()}
    assert seen == {(interface, f"{own}.5353")}


def test_two_inside_hosts_with_one_port(bed: Testbed, router: Tunrouter, family: Family) -> None:
    """RFC 4787 REQ-3 and REQ-4: another outside port, of the same parity."""
    port = 6001 if family.version == 4 else 6003
    with Capture(bed.far, f"udp and src {family.eth0}") as far:
        for namespace in (bed.router, bed.client):
            (found,) = exchange(namespace, family.far(HOME), source_port=port).found
            assert found["length"] == 5
        ports = {int(packet.source.rpartition(".")[2]) for packet in far.packets()}
    assert len(ports) == 2
    assert {number % 2 for number in ports} == {1}
    assert port in ports, "the LAN host's, once the local program has closed it"


def test_a_port_that_a_local_program_has_is_not_taken_from_it(
    bed: Testbed, router: Tunrouter, family: Family
) -> None:
    own = bed.router.start("python3", "-c", TAKES_A_PORT)
    try:
        own.wait_for_output("bound")
        with Capture(bed.far, f"udp and src {family.eth0}") as far:
            (found,) = exchange(bed.client, family.far(HOME), source_port=6100).found
            assert found["length"] == 5
            (source,) = {packet.source for packet in far.packets()}
        assert not source.endswith(".6100")
        assert int(source.rpartition(".")[2]) % 2 == 0
    finally:
        own.close()


TAKES_A_PORT = """
import socket, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.bind(("::", 6100))
print("bound", flush=True)
s.recv(1)
"""


@PATHS
def test_many_flows_at_once(sender: Namespace, family: Family, through: int, bare: int) -> None:
    many = MANY[through]
    found = exchange(sender, family.far(through), sends=["aa", "bb", "cc"], sockets=many).found
    assert [one["length"] for one in found] == [1] * 3 * many
    digests = [one["digest"] for one in found]
    assert [len(set(digests[at : at + many])) for at in range(0, 3 * many, many)] == [1, 1, 1]


def test_req_8_another_port_of_the_host_may_answer(
    bed: Testbed, router: Tunrouter, family: Family
) -> None:
    """RFC 4787 REQ-8: filtering is by address, not by port."""
    (found,) = exchange(bed.client, family.far(HOME), ELSEWHERE, connect=False).found
    assert found["sender"] == [family.far(HOME), ELSEWHERE + 1]


def test_req_8_another_host_may_not_answer(
    bed: Testbed, router: Tunrouter, family: Family, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """RFC 4787 REQ-8. A later answer shows that the first has arrived."""
    by_another_host = f"{family.far(HOME + 2)} x".encode().hex()
    by_the_same_host = f"{family.far(HOME)} y".encode().hex()
    with Capture(bed.router, f"udp and src port {ELSEWHERE + 1}") as seen:
        found = exchange(
            bed.client,
            family.far(HOME),
            ELSEWHERE,
            connect=False,
            sends=[by_another_host],
            patience=1,
        ).found
        again = exchange(
            bed.client, family.far(HOME), ELSEWHERE, connect=False, sends=[by_the_same_host]
        ).found
        sources = {packet.source for packet in seen.on("eth0")}
    assert found == ["silence"]
    assert again[0]["sender"] == [family.far(HOME), ELSEWHERE + 1]
    assert f"{family.far(HOME + 2)}.{ELSEWHERE + 1}" in sources, "the other host did answer"


@pytest.mark.parametrize("by", ["+notcp", "+tcp"])
@PATHS
def test_dig(sender: Namespace, family: Family, through: int, bare: int, by: str) -> None:
    outputs = [
        [
            sender.run(
                *("dig", f"@{family.far(number)}", "-p", str(DNS)),
                *(kind, by, "+short", "example.net"),
            ).stdout
            for kind in ("A", "AAAA")
        ]
        for number in (through, bare)
    ]
    assert outputs[0] == outputs[1] == ["192.0.2.53\n", "2001:db8::53\n"]
