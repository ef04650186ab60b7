"""Pings and traceroutes by the router print what they print by the bare kernel, one hop later.

Each command is run on the bare path first and then by the router, for direct and for vpn, in both
families; the texts must be the same but for times, for the hop limit (one less), and for the
first hop, which is the router.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e import ping, probes
from tests.e2e.capture import Capture
from tests.e2e.hops import hops
from tests.e2e.marks import WITH_AND_WITHOUT_OFFLOADS
from tests.e2e.testbed import FAMILIES, V4, Family, Testbed
from tests.e2e.tunrouter import Tunrouter, relayed, rules, running
from tests.e2e.wait import wait_until

TTL = re.compile(r"\bttl=(\d+)")
ERROR = re.compile(r"From (\S+) icmp_seq=\d+ (.*)")
"""Sender and text. Not the sequence number: Linux limits the rate of a gateway's errors."""

ANSWERING, UNREACHABLE, PROHIBITED, BLACK_HOLE = 1, 97, 98, 99
"""Hosts of a far net: the last three by special routes of the gateways, see `_special_routes`."""

RULES = relayed(
    rules(
        *(f"{family.far_net} -> home" for family in FAMILIES),
        *(f"{family.office_net} -> office" for family in FAMILIES),
        *(f"{_host} -> home" for _host in ("192.0.2.77", "2001:db8:2::77")),
    )
)


@dataclass(frozen=True)
class Outbound:
    """A policy, the MTU of its interface, and the hosts that its rules are for."""

    name: str
    mtu: int

    def host(self, family: Family, number: int) -> str:
        return family.far(number) if self.name == "home" else family.office(number)


HOME, OFFICE = Outbound("home", 1500), Outbound("office", 1420)


@pytest.fixture(params=[HOME, OFFICE], ids=lambda outbound: outbound.name)
def outbound(request: pytest.FixtureRequest) -> Outbound:
    found: Outbound = request.param
    return found


@pytest.fixture(scope="module", autouse=True)
def _special_routes(bed: Testbed) -> None:
    for family in FAMILIES:
        for gateway, host in ((bed.gw, family.far), (bed.vpn, family.office)):
            gateway.ip(
                f"route add unreachable {host(UNREACHABLE)}/{family.host_bits}",
                f"route add prohibit {host(PROHIBITED)}/{family.host_bits}",
                f"route add blackhole {host(BLACK_HOLE)}/{family.host_bits}",
            )


@contextmanager
def bare(bed: Testbed) -> Iterator[None]:
    """The office's nets by the tunnel, as a VPN client would have routed them."""
    routes = [f"{family.office_net} dev wg0" for family in FAMILIES]
    bed.router.ip(*(f"route add {route}" for route in routes))
    try:
        yield
    finally:
        bed.router.ip(*(f"route del {route}" for route in routes))


def one_hop_earlier(text: str) -> str:
    """As it was before the router's hop was counted: a hop limit one greater."""
    return TTL.sub(lambda match: f"ttl={int(match[1]) + 1}", text)


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


def test_answers(bed: Testbed, tmp_path: Path, family: Family, outbound: Outbound) -> None:
    host = outbound.host(family, ANSWERING)

    def all_of_them() -> list[str]:
        texts = []
        for options in answering_options(outbound, family):
            ping.answered(bed.router, host, *options, count=1)  # learns the path's MTU
            texts.append(ping.answered(bed.router, host, *options).timeless)
        return texts

    with bare(bed):
        expected = all_of_them()
    with running(bed.router, tmp_path, RULES):
        seen = [one_hop_earlier(text) for text in all_of_them()]
    assert seen == expected


@WITH_AND_WITHOUT_OFFLOADS
def test_answers_for_a_host_behind_the_router(
    bed: Testbed, tmp_path: Path, family: Family, offloads: bool
) -> None:
    """Fragments among them, with and without a virtio-net header."""
    host = family.far(ANSWERING)
    options = answering_options(HOME, family)
    expected = [ping.answered(bed.client, host, *option).timeless for option in options]
    with running(bed.router, tmp_path, RULES, offloads=offloads):
        seen = [ping.answered(bed.client, host, *option).timeless for option in options]
    assert [one_hop_earlier(text) for text in seen] == expected


def test_errors(bed: Testbed, tmp_path: Path, family: Family, outbound: Outbound) -> None:
    too_long = biggest(outbound, family) + 1

    def all_of_them(hops_before: int) -> list[list[tuple[str, ...]]]:
        errors = []
        for number, options in (
            (ANSWERING, ["-t", str(hops_before + 1)]),
            (UNREACHABLE, []),
            (UNREACHABLE, ["-s", "3000"]),
            (PROHIBITED, []),
        ):
            pinged = ping.answered(bed.router, outbound.host(family, number), *options, count=1)
            assert pinged.received == 0, pinged.text
            errors.append(ERROR.findall(pinged.text))
        silent = ping.unanswered(bed.router, outbound.host(family, BLACK_HOLE), count=1)
        assert silent.received == 0, silent.text
        return [*errors, ERROR.findall(silent.text)]

    def expect_too_long() -> None:
        host = outbound.host(family, ANSWERING)
        pinged = ping.unanswered(bed.router, host, "-M", "do", "-s", str(too_long), count=1)
        assert (pinged.received, pinged.exit_code) == (0, 1), pinged.text
        assert probes.too_long(bed.router, host, too_long) == f"EMSGSIZE {outbound.mtu}"

    with bare(bed):
        expected = all_of_them(0)
        expect_too_long()
    assert all(expected[:-1]), expected
    assert not expected[-1]
    with running(bed.router, tmp_path, RULES):
        assert all_of_them(1) == expected
        expect_too_long()


def test_the_router_is_the_first_hop(
    bed: Testbed, tmp_path: Path, family: Family, outbound: Outbound
) -> None:
    with running(bed.router, tmp_path, RULES):
        pinged = ping.refused(bed.router, outbound.host(family, ANSWERING), "-t", "1", count=1)
    assert f"From {family.tun_peer} icmp_seq=1 Time" in pinged.text


def test_a_neighbour_that_is_not_there(bed: Testbed, tmp_path: Path, family: Family) -> None:
    """The router's kernel sends it from its own address; the sender gets it from the TUN's peer."""
    absent = "192.0.2.77" if family.version == 4 else "2001:db8:2::77"
    expected = ping.answered(bed.router, absent, "-W", "20", count=1)
    with running(bed.router, tmp_path, RULES):
        seen = ping.answered(bed.router, absent, "-W", "20", count=1)
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
def test_traces(
    bed: Testbed, tmp_path: Path, family: Family, outbound: Outbound, command: list[str]
) -> None:
    host = outbound.host(family, ANSWERING)
    argv = *command, f"-{family.version}"
    with bare(bed):
        expected = [hop.address for hop in hops(bed.router, host, *argv)]
    assert len(expected) == 2, expected
    with running(bed.router, tmp_path, RULES):
        seen = [hop.address for hop in hops(bed.router, host, *argv)]
    assert seen == [family.tun_peer, *expected]


@pytest.mark.parametrize("options", [[], ["-M", "do"], ["-Q", "0xb8"], ["-t", "33"]], ids=str)
def test_what_leaves_is_what_was_sent(
    bed: Testbed, tmp_path: Path, family: Family, options: list[str]
) -> None:
    """TOS or traffic class and DF as they were; one hop less than on the bare path."""
    expected = header_at_far(bed, family, options)
    with running(bed.router, tmp_path, RULES):
        seen = header_at_far(bed, family, options)
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


def header_at_far(bed: Testbed, family: Family, options: list[str]) -> Header:
    """What the far host sees of a ping from the client."""
    host = family.far(ANSWERING)
    capture = bed.far.start(
        *("tcpdump", "-n", "-v", "-l", "--immediate-mode", "-i", "home0", "dst", "host", host)
    )
    try:
        capture.wait_for_output("listening on")
        ping.answered(bed.client, host, *options, count=1)
        capture.wait_for_output("echo request")
        match = HEADER[family.version].search(capture.stdout)
    finally:
        capture.close()
    assert match, capture.stdout
    return Header(int(match[1] or "0", 16), int(match[2]), match[3])


def test_two_hundred_pings_at_once(bed: Testbed, tmp_path: Path, family: Family) -> None:
    """Each gets its own answers: a size and pattern of its own detects any other's. All of them go
    by one socket: each flow lasts for a minute, so a socket for each would still be there."""
    with running(bed.router, tmp_path, RULES) as router:
        assert ping.answered(bed.client, family.far(0), count=1).received == 1
        descriptors = router.descriptors()
        pings = [
            ping.start(
                (bed.client, bed.router)[number % 2],
                family.far(number % 50),
                *("-c", "5", "-i", "0.2", "-w", "30", "-s", str(24 + number)),
                *("-p", f"{number + 1:02x}"),
            )
            for number in range(200)
        ]
        try:
            for number, process in enumerate(pings):
                pinged = ping.read(process)
                assert pinged.received == 5, pinged.text
                assert pinged.duplicates == 0, pinged.text
                assert {length for length, _ in pinged.replies} == {32 + number}, pinged.text
                assert "wrong data" not in pinged.text
            assert router.descriptors() <= descriptors, "never a socket for a ping"
        finally:
            for process in pings:
                process.close()
        _assert_all_carried(router)


def _assert_all_carried(router: Tunrouter) -> None:
    counters = router.stop().counters
    assert counters["packets-out"] >= 1000
    assert counters["packets-in"] >= 1000
    assert counters["loop"] == 0


def test_reply_answers_whole_pings_of_any_size(
    bed: Testbed, tmp_path: Path, family: Family
) -> None:
    host = family.far(ANSWERING)
    with running(bed.router, tmp_path, rules(f"{host} -> reply")):
        for source in (bed.router, bed.client):
            for size in ("0", "1472", "4000", "65000"):
                pinged = ping.answered(source, host, "-s", size)
                assert {length for length, _ in pinged.replies} == {int(size) + 8}, pinged.text


@pytest.mark.parametrize("size", [1400, 4000])
def test_an_outbound_whose_mtu_has_shrunk(
    bed: Testbed, tmp_path: Path, family: Family, size: int
) -> None:
    """A packet that may not be fragmented is answered with the new MTU, by the router while the
    routes have 1500 and by the kernel after they are replaced; others are fragmented to it."""
    host = family.far(ANSWERING)

    def has_new_mtu() -> bool:
        ping.unanswered(bed.client, host, "-M", "do", "-s", str(size), count=1)
        return probes.path_mtu(bed.client, host) == 1300

    def passes_in_fragments() -> bool:
        return ping.answered(bed.client, host, "-s", str(size)).received == 3

    with running(bed.router, tmp_path, RULES):
        _set_home_mtu(bed, 1300)
        try:
            if size < 1500:
                wait_until(has_new_mtu, "an error with the new MTU")
            wait_until(passes_in_fragments, "the sender to have learned the path's MTU")
        finally:
            _set_home_mtu(bed, 1500)
            for namespace in (bed.client, bed.far):
                namespace.run("ip", f"-{family.version}", "route", "flush", "cache")


def _set_home_mtu(bed: Testbed, mtu: int) -> None:
    """At both ends of the link: veth drops what is longer than its receiver's MTU."""
    bed.router.ip(f"link set eth0 mtu {mtu}")
    bed.gw.ip(f"link set home0 mtu {mtu}")


def test_timestamps(bed: Testbed, tmp_path: Path) -> None:
    """Another query than echo, sent by a probe of its own; IPv6 has none that Linux answers."""
    host = V4.far(ANSWERING)
    assert probes.icmp_timestamp(bed.client, host) == "answered"
    with running(bed.router, tmp_path, RULES), Capture(bed.far) as capture:
        assert probes.icmp_timestamp(bed.client, host) == "answered"
        assert probes.icmp_timestamp(bed.router, host) == "answered"
        sources = {seen.source for seen in capture.packets() if "time stamp query" in seen.text}
    assert sources == {V4.eth0}
