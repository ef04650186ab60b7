"""Rules of the host that mark, alter, count or queue what leaves, laid while the kernel forwards
it: from then on all of it has the values that it has on the bare path."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from tests.e2e import ping
from tests.e2e.direct import marking_rules
from tests.e2e.direct.ends import PATHS, SOURCE, connection
from tests.e2e.direct.forwarding import (
    SOME,
    flow_of_datagrams,
    send_segments,
    transfer,
    tun_file,
)
from tests.e2e.direct.marking_rules import LANGUAGES, Seen, Target
from tests.e2e.direct.packet_queue import REFUSED
from tests.e2e.direct.second_gateway import second_gateway
from tests.e2e.processes import Process
from tests.e2e.testbed import Family, Testbed
from tests.e2e.udp import RULES
from tests.e2e.wait import wait_until

pytestmark = [pytest.mark.rules(RULES), pytest.mark.usefixtures("direct")]

NFT = LANGUAGES["nft"]
UPLOAD = bytes(1 << 20)
QUEUE = "5"
PINGS = 5
HEADERS = {4: 28, 6: 48}
LONGEST = 1500


@PATHS
def test_values(bed: Testbed, family: Family, through: int, bare: int) -> None:
    """Of segments and datagrams that come one by one, and of those that the system has yet to
    cut."""
    for host in (through, bare):
        target = Target(family, host, SOURCE[host])
        with (
            tun_file(bed) as file,
            second_gateway(bed),
            marking_rules.counting_arrivals(bed, [target]),
            connection(bed, family, target.address) as pair,
            flow_of_datagrams(bed, family, target.address) as flow,
        ):
            pair.client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            segments = partial(send_segments, pair.client, pair.server)
            if host == through:
                file.wait_until_forwarded(segments)
                file.wait_until_forwarded(flow.send_one_by_one)
            with marking_rules.laid(bed, NFT, [target]):
                for send in (segments, flow.send_one_by_one):
                    wait_until(partial(_is_all_marked, bed, target, send), "marks")
                seen = Seen(bed, NFT, target)
                transfer(pair.client, pair.server, UPLOAD)
                flow.send_some()
                assert seen.arrived("others") == (0, 0)
                for kind in ("tcp", "udp"):
                    if target.interface == "eth0":  # a VPN cuts what is long
                        seen.wait_until_all_arrived(kind)
                    assert min(seen.left(kind)[1], seen.arrived(kind)[1]) > 0
                assert seen.left("tcp")[1] > len(UPLOAD)


def _is_all_marked(bed: Testbed, target: Target, send: Callable[[], None]) -> bool:
    seen = Seen(bed, NFT, target)
    send()
    return seen.arrived("others") == (0, 0)


@PATHS
def test_a_queue(bed: Testbed, family: Family, through: int, bare: int) -> None:
    """Its other end gets each packet that leaves, and what it does not let pass does not arrive."""
    found = []
    for host in (through, bare):
        address = family.far(host)
        with tun_file(bed) as file, connection(bed, family, address) as pair:
            pair.client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            segments = partial(send_segments, pair.client, pair.server)
            if host == through:
                file.wait_until_forwarded(segments)
            with queue(bed, family, SOURCE[host], address) as other_end:
                assert answered(bed, address) == [
                    *range(1, REFUSED),
                    *range(REFUSED + 1, PINGS + 1),
                ]
                pings = _lines(other_end)[:PINGS]
                wait_until(partial(_are_queued, segments, other_end), "segments to be queued")
                before = len(_lines(other_end))
                transfer(pair.client, pair.server, UPLOAD)
                lengths = [int(line.split()[1]) for line in _lines(other_end)[before:]]
                assert max(lengths) <= LONGEST
                assert sum(lengths) > len(UPLOAD)
        found.append(pings)
    assert found[0] == found[1] == [f"{SOURCE[through]} {56 + HEADERS[family.version]}"] * PINGS


def answered(bed: Testbed, address: str) -> list[int]:
    """Which pings of the first PINGS are."""
    pinging = ping.start(bed.router, address, "-i", ping.INTERVAL_S)
    try:
        wait_until(lambda: f"icmp_seq={PINGS} " in pinging.stdout, "answers")
        sequences = [int(number) for _, number in ping.REPLY.findall(pinging.stdout)]
        return [number for number in sequences if number <= PINGS]
    finally:
        pinging.close()


def _are_queued(send: Callable[[], None], other_end: Process) -> bool:
    before = len(_lines(other_end))
    send()
    return len(_lines(other_end)) - before >= SOME


def _lines(other_end: Process) -> list[str]:
    """Interface and length of each packet."""
    return other_end.stdout.splitlines()[1:]


@contextmanager
def queue(bed: Testbed, family: Family, interface: str, address: str) -> Iterator[Process]:
    """Of what leaves to an address, and its other end."""
    program = "iptables-nft" if family.version == 4 else "ip6tables-nft"
    rule = ("-t", "mangle", "{}", "POSTROUTING", "-o", interface, "-d", address)
    target = ("-j", "NFQUEUE", "--queue-num", QUEUE)
    other_end = bed.router.start(sys.executable, "-m", "tests.e2e.direct.packet_queue", QUEUE)
    try:
        other_end.wait_for_output("listening")
        bed.router.run(program, *(each.format("-A") for each in rule), *target)
        try:
            yield other_end
        finally:
            bed.router.run(program, *(each.format("-D") for each in rule), *target)
    finally:
        other_end.close()
