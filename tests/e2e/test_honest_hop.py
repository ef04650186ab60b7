"""Pings and traceroutes by the router print what they print by the bare kernel, one hop later.

Each command is run on the bare path and by the router, for direct and for vpn, in both families;
the texts must be the same but for times, for the host, for the hop limit (one less), and for the
first hop, which is the router. The lower half of each far net is captured; the upper half, of which
no rule is, has the bare paths.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_network
from typing import NamedTuple

import pytest

from tests.e2e import ping, probes
from tests.e2e.capture import Capture
from tests.e2e.hops import hops
from tests.e2e.testbed import FAMILIES, V4, Family, Testbed
from tests.e2e.tunrouter import Tunrouter, relayed, rules

TTL = re.compile(r"\bttl=(\d+)")
ERROR = re.compile(r"From (\S+) icmp_seq=\d+ (.*)")
"""Sender and text. Not the sequence number: Linux limits the rate of a gateway's errors."""

ANSWERING, UNREACHABLE, PROHIBITED, BLACK_HOLE = 1, 97, 98, 99
"""Hosts of a far net: the last three by special routes of the gateways, see `_special_routes`."""
BARE = 128
"""What is added to the number of a host for the one on the bare path."""
ABSENT = {4: "192.0.2.77", 6: "2001:db8:2::77"}
BARE_ABSENT = {4: "192.0.2.78", 6: "2001:db8:2::78"}
"""Neighbours that are not there."""


def halves(net: str) -> list[str]:
    """Of the 256 first addresses of a far net: what is captured, and what is not."""
    first = ip_network(net).network_address
    return [f"{each}/{first.max_prefixlen - 7}" for each in (first, first + BARE)]


pytestmark = pytest.mark.rules(
    relayed(
        rules(
            *(f"{halves(family.far_net)[0]} -> home" for family in FAMILIES),
            *(f"{halves(family.office_net)[0]} -> office" for family in FAMILIES),
            *(f"{ABSENT[family.version]} -> home" for family in FAMILIES),
        )
    )
)


@dataclass(frozen=True)
class Outbound:
    """A policy, the MTU of its interface, and the hosts that its rules are for."""

    name: str
    mtu: int

    def host(self, family: Family, number: int, *, bare: bool = False) -> str:
        number += BARE * bare
        return family.far(number) if self.name == "home" else family.office(number)


HOME, OFFICE = Outbound("home", 1500), Outbound("office", 1420)


@pytest.fixture(params=[HOME, OFFICE], ids=lambda outbound: outbound.name)
def outbound(request: pytest.FixtureRequest) -> Outbound:
    found: Outbound = request.param
    return found


@pytest.fixture(scope="module", autouse=True)
def _special_routes(bed: Testbed, router: Tunrouter) -> None:
    """And the bare path to the office's hosts by the tunnel, as a VPN client would have it."""
    for family in FAMILIES:
        for gateway, host in ((bed.gw, family.far), (bed.vpn, family.office)):
            gateway.ip(
                *(
                    f"route add {kind} {host(number + bare)}/{family.host_bits}"
                    for kind, number in (
                        ("unreachable", UNREACHABLE),
                        ("prohibit", PROHIBITED),
                        ("blackhole", BLACK_HOLE),
                    )
                    for bare in (0, BARE)
                )
            )
        bed.router.ip(f"route add {halves(family.office_net)[1]} dev wg0")


def one_hop_earlier(text: str) -> str:
    """As it was before the router's hop was counted: a hop limit one greater."""
    return TTL.sub(lambda match: f"ttl={int(match[1]) + 1}", text)


def on_the_bare_path(text: str, host: str, bare: str) -> str:
    """As it would be on the bare path, to the host there."""
    return one_hop_earlier(re.sub(rf"\b{re.escape(host)}(?![\da-f])", bare, text))


def biggest(outbound: Outbound, family: Family) -> int:
    """The payload of a ping that fills a packet of the outbound's MTU."""
    return outbound.mtu - (28 if family.version == 4 else 48)


def answering_options(outbound: Outbound, family: Family) -> list[list[str]]:
    return [
        [],
        ["-s", "0"],
        ["-s", "4000"],
        ["-s", "65000"],
        ["-M", "do", "-s", str(biggest(outbound, family))],
        ["-Q", "0x28"],
        ["-p", "a5c3", "-s", "333"],
        ["-t", "9"],
    ]


def test_answers(bed: Testbed, family: Family, outbound: Outbound) -> None:
    host, bare = (outbound.host(family, ANSWERING, bare=each) for each in (False, True))

    def all_of_them(host: str) -> list[str]:
        texts = []
        for options in answering_options(outbound, family):
            ping.answered(bed.router, host, *options, count=1)  # learns the path's MTU
            texts.append(ping.answered(bed.router, host, *options).timeless)
        return texts

    seen = [on_the_bare_path(text, host, bare) for text in all_of_them(host)]
    assert seen == all_of_them(bare)


def test_errors(bed: Testbed, family: Family, outbound: Outbound) -> None:
    too_long = biggest(outbound, family) + 1

    def all_of_them(hops_before: int, *, bare: bool) -> list[list[tuple[str, ...]]]:
        errors = []
        for number, options in (
            (ANSWERING, ["-t", str(hops_before + 1)]),
            (UNREACHABLE, []),
            (UNREACHABLE, ["-s", "3000"]),
            (PROHIBITED, []),
        ):
            host = outbound.host(family, number, bare=bare)
            pinged = ping.answered(bed.router, host, *options, count=1)
            assert pinged.received == 0, pinged.text
            errors.append(ERROR.findall(pinged.text))
        black_hole = outbound.host(family, BLACK_HOLE, bare=bare)
        silent = ping.unanswered(bed.router, black_hole, count=1)
        assert silent.received == 0, silent.text
        return [*errors, ERROR.findall(silent.text)]

    expected = all_of_them(0, bare=True)
    assert all(expected[:-1]), expected
    assert not expected[-1]
    assert all_of_them(1, bare=False) == expected
    for bare in (True, False):
        host = outbound.host(family, ANSWERING, bare=bare)
        pinged = ping.unanswered(bed.router, host, "-M", "do", "-s", str(too_long), count=1)
        assert (pinged.received, pinged.exit_code) == (0, 1), pinged.text
        assert probes.too_long(bed.router, host, too_long) == f"EMSGSIZE {outbound.mtu}"


def test_the_router_is_the_first_hop(bed: Testbed, family: Family, outbound: Outbound) -> None:
    pinged = ping.refused(bed.router, outbound.host(family, ANSWERING), "-t", "1", count=1)
    assert f"From {family.tun_peer} icmp_seq=1 Time" in pinged.text


def test_a_neighbour_that_is_not_there(bed: Testbed, family: Family) -> None:
    """The router's kernel sends it from its own address; the sender gets it from the TUN's peer."""
    options = ("-W", "20")
    expected = ping.answered(bed.router, BARE_ABSENT[family.version], *options, count=1)
    seen = ping.answered(bed.router, ABSENT[family.version], *options, count=1)
    assert expected.received == seen.received == 0
    errors = re.findall(r"icmp_seq=1 (Destination.*)", expected.text)
    assert errors
    assert re.findall(rf"From {family.tun_peer} icmp_seq=1 (Destination.*)", seen.text) == errors


@pytest.mark.parametrize(
    "command",
    [
        ["traceroute", "-n", "-I", "-q", "2", "-w", "20"],
        ["mtr", "-n", "-r", "-c", "2", "-i", "0.2", "-G", "2"],
    ],
    ids=lambda command: str(command[0]),
)
def test_traces(bed: Testbed, family: Family, outbound: Outbound, command: list[str]) -> None:
    argv = *command, f"-{family.version}"
    host, bare = (outbound.host(family, ANSWERING, bare=each) for each in (False, True))
    *expected, last = [hop.address for hop in hops(bed.router, bare, *argv)]
    assert (len(expected), last) == (1, bare)
    seen = [hop.address for hop in hops(bed.router, host, *argv)]
    assert seen == [family.tun_peer, *expected, host]


@pytest.mark.parametrize("options", [[], ["-M", "do"], ["-Q", "0xb8"], ["-t", "33"]], ids=str)
def test_what_leaves_is_what_was_sent(bed: Testbed, family: Family, options: list[str]) -> None:
    """TOS or traffic class and DF as they were; one hop less than on the bare path."""
    expected = header_at_far(bed, family.far(ANSWERING + BARE), options)
    seen = header_at_far(bed, family.far(ANSWERING), options)
    assert seen == expected._replace(hops=expected.hops - 1)


HEADER = {
    4: re.compile(r"tos 0x(\w+), ttl (\d+), id \d+, offset 0, flags \[(\w+)\]"),
    6: re.compile(r"IP6 \((?:class 0x(\w+), )?(?:flowlabel \w+, )?hlim (\d+)()"),
}


class Header(NamedTuple):
    """What the network sees of a packet's header; flags are IPv4's."""

    traffic_class: int
    hops: int
    flags: str


def header_at_far(bed: Testbed, host: str, options: list[str]) -> Header:
    """What a far host sees of a ping from the client."""
    capture = bed.far.start(
        *("tcpdump", "-n", "-v", "-l", "--immediate-mode", "-i", "home0", "dst", "host", host)
    )
    try:
        capture.wait_for_output("listening on")
        ping.answered(bed.client, host, *options, count=1)
        capture.wait_for_output("echo request")
        match = HEADER[6 if ":" in host else 4].search(capture.stdout)
    finally:
        capture.close()
    assert match, capture.stdout
    return Header(int(match[1] or "0", 16), int(match[2]), match[3])


def test_timestamps(bed: Testbed) -> None:
    """Another query than echo, sent by a probe of its own; IPv6 has none that Linux answers."""
    assert probes.icmp_timestamp(bed.client, V4.far(ANSWERING + BARE)) == "answered"
    host = V4.far(ANSWERING)
    with Capture(bed.far, f"icmp and dst host {host}") as capture:
        assert probes.icmp_timestamp(bed.client, host) == "answered"
        assert probes.icmp_timestamp(bed.router, host) == "answered"
        sources = {seen.source for seen in capture.packets() if "time stamp query" in seen.text}
    assert sources == {V4.eth0}
