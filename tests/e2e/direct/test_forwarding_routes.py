"""What the kernel forwards follows the system's rules, tables and next hops as on the bare path, by
interfaces of several kinds and by their queueing disciplines."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Final

import pytest

from tests.e2e import ping
from tests.e2e.direct.forwarding import (
    SO_MARK,
    SOME,
    TunFile,
    flows,
    tun_file,
)
from tests.e2e.direct.second_gateway import ADDRESS, LINK, second_gateway
from tests.e2e.testbed import Family, Testbed
from tests.e2e.udp import BARE, HOME, RULES
from tests.e2e.wait import wait_until

MARK, TABLE = "5", "100"
FEW: Final = 10
"""Packets."""
pytestmark = [pytest.mark.rules(RULES), pytest.mark.usefixtures("direct")]


@pytest.fixture
def file(bed: Testbed) -> Iterator[TunFile]:
    with tun_file(bed) as opened:
        yield opened


def goes_by(bed: Testbed, link: str, send: Callable[[], object]) -> bool:
    """Whether all packets come by that link of the gateway, and many do, while something is sent,
    and has arrived; the system's own packets apart."""
    links = "home0", LINK
    before = [bed.gw.counter(each, "rx_packets") for each in links]
    send()
    lower, second = (
        bed.gw.counter(each, "rx_packets") - then for each, then in zip(links, before, strict=True)
    )
    by_links = {"home0": lower - second, LINK: second}
    other = sum(by_links.values()) - by_links[link]
    return other < FEW <= by_links[link]


# Rules and tables


@pytest.fixture
def other_gateway(bed: Testbed) -> Iterator[None]:
    with second_gateway(bed):
        yield


@contextmanager
def _rule(bed: Testbed, family: Family, selector: str, prefix: str) -> Iterator[None]:
    """A rule for a table in which a prefix is reached by the second gateway."""
    ip = ("ip", f"-{family.version}")
    route = (prefix, "via", ADDRESS[family.version], "dev", "eth0", "table", TABLE)
    bed.router.run(*ip, "route", "add", *route)
    rule = (*selector.split(), "lookup", TABLE)
    bed.router.run(*ip, "rule", "add", *rule)
    try:
        yield
    finally:
        bed.router.run(*ip, "rule", "del", *rule)
        bed.router.run(*ip, "route", "flush", "table", TABLE)


@pytest.mark.usefixtures("other_gateway")
@pytest.mark.parametrize("kind", ["source", "mark", "table"])
def test_a_rule_that_comes_and_goes(bed: Testbed, file: TunFile, family: Family, kind: str) -> None:
    for host in (HOME, BARE):
        address = family.far(host)
        selector = {"source": f"from {family.eth0}", "mark": f"fwmark {MARK}", "table": "pref 100"}
        prefix = address if kind == "table" else "default"
        with flows(bed, family, address) as sent:
            if host == HOME:
                sent.wait_until_forwarded(file)
            sends = (sent.send_segments, sent.flow.send_one_by_one)
            with _rule(bed, family, selector[kind], prefix):
                sent.set(SO_MARK, int(MARK))
                for send in sends:
                    wait_until(partial(goes_by, bed, LINK, send), "the other gateway")
                assert goes_by(bed, LINK, sent.transfer)
                sent.set(SO_MARK, 0)
            for send in sends:
                wait_until(partial(goes_by, bed, "home0", send), "the first gateway")
            if host == HOME:
                sent.wait_until_forwarded(file)
                assert goes_by(bed, "home0", sent.transfer)


# Several next hops by one interface


@contextmanager
def _several(bed: Testbed, family: Family, kind: str, gateways: list[str]) -> Iterator[None]:
    """As default route."""
    ip = ("ip", f"-{family.version}", "route")
    with ExitStack() as stack:
        stack.callback(
            bed.router.run, *ip, "replace", "default", "via", family.gateway, "dev", "eth0"
        )
        hops = [("via", gateway, "dev", "eth0") for gateway in gateways]
        if kind == "objects":
            stack.callback(bed.router.ip, "nexthop flush")
            for number, hop in enumerate(hops, 1):
                version = f"-{family.version}"
                bed.router.run("ip", version, "nexthop", "add", "id", str(number), *hop)
            bed.router.ip("nexthop add id 3 group 1/2")
            bed.router.run(*ip, "replace", "default", "nhid", "3")
        else:
            several = [word for hop in hops for word in ("nexthop", *hop)]
            bed.router.run(*ip, "replace", "default", *several)
        if family.version == 6:
            stack.callback(bed.router.run, *ip, "del", "default")
        yield


@pytest.mark.usefixtures("other_gateway")
@pytest.mark.parametrize("kind", ["hops", "objects"])
def test_several_next_hops(bed: Testbed, file: TunFile, family: Family, kind: str) -> None:
    """All that leaves goes by the first of them, as what is bound to the interface does, whether
    the router sends it or the kernel forwards it: no flow is divided."""
    address = family.far(HOME)
    gateways = [ADDRESS[family.version], family.gateway]
    with flows(bed, family, address) as sent:
        sent.wait_until_forwarded(file)
        for order, link in ((gateways, LINK), (gateways[::-1], "home0")):
            with _several(bed, family, kind, order):
                wait_until(partial(goes_by, bed, link, sent.send_segments), "the first next hop")
                sent.wait_until_forwarded(file)
                with flows(bed, family, address) as others:
                    for each in (sent, others):
                        assert goes_by(bed, link, each.send_everything)
                pings = partial(ping.counted, bed.router, address, count=2 * FEW)
                assert goes_by(bed, link, pings)


# Queueing disciplines

CLASSES: Final = {HOME: "1:20", BARE: "1:30"}
CLASS: Final = re.compile(r"class htb (\S+) .*\n Sent (\d+) bytes (\d+) pkt")


@pytest.fixture
def classes(bed: Testbed, family: Family) -> Iterator[None]:
    """Of HTB, by destination."""
    tc = partial(bed.router.run, "tc")
    tc("qdisc", "add", "dev", "eth0", "root", "handle", "1:", "htb", "default", "10")
    try:
        for number in ("1:10", *CLASSES.values()):
            htb = ("parent", "1:", "classid", number, "htb", "rate", "10gbit", "quantum", "60000")
            tc("class", "add", "dev", "eth0", *htb)
        protocol, match = ("ip", "ip") if family.version == 4 else ("ipv6", "ip6")
        for host, number in CLASSES.items():
            wanted = ("match", match, "dst", f"{family.far(host)}/{family.host_bits}")
            filters = ("filter", "add", "dev", "eth0", "parent", "1:", "protocol", protocol)
            tc(*filters, "u32", *wanted, "flowid", number)
        yield
    finally:
        tc("qdisc", "del", "dev", "eth0", "root")


def _sent_by_classes(bed: Testbed) -> dict[str, tuple[int, int]]:
    """Bytes and packets as they are cut."""
    shown = bed.router.run("tc", "-s", "class", "show", "dev", "eth0").stdout
    return {name: (int(size), int(packets)) for name, size, packets in CLASS.findall(shown)}


def test_classes_of_a_queueing_discipline(
    bed: Testbed, file: TunFile, classes: None, family: Family
) -> None:
    """They count the same of the same."""
    counted = []
    for host, number in CLASSES.items():
        with flows(bed, family, family.far(host)) as sent:
            if host == HOME:
                sent.wait_until_forwarded(file)
            before = _sent_by_classes(bed)
            sent.send_segments()
            sent.flow.send_one_by_one()
            sent.flow.send_some()
            now = _sent_by_classes(bed)
        counted.append(
            [after - then for after, then in zip(now[number], before[number], strict=True)]
        )
    assert counted[0] == counted[1]
    assert counted[0][1] == 4 * SOME
