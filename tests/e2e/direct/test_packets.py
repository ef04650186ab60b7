"""What a program sends arrives as on the bare path, but for one hop, and so does the answer."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final

import pytest

from tests.e2e import ping, probes, sockets
from tests.e2e.direct.ends import (
    PATHS,
    Arrival,
    Arrivals,
    connection,
    datagrams,
    end,
    source_of,
)
from tests.e2e.testbed import FAMILIES, V4, Family, Testbed
from tests.e2e.udp import ECHO, RULES, exchange
from tests.unit.wire.packets import (
    ICMP,
    IP,
    TCP,
    UDP,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    Packet,
)

pytestmark = [pytest.mark.rules(RULES), pytest.mark.usefixtures("direct")]

IPOption = pytest.importorskip("scapy.layers.inet").IPOption
LEVEL: Final = {4: socket.IPPROTO_IP, 6: socket.IPPROTO_IPV6}
TOS: Final = {4: socket.IP_TOS, 6: socket.IPV6_TCLASS}
TTL: Final = {4: socket.IP_TTL, 6: socket.IPV6_UNICAST_HOPS}
RECEIVE_TOS: Final = {4: 13, 6: socket.IPV6_RECVTCLASS}
RECEIVE_TTL: Final = {4: 12, 6: socket.IPV6_RECVHOPLIMIT}
UDP_SEGMENT: Final = 103
TIMESTAMP: Final = 0x44
"""The option (RFC 791, 3.1); stamps stand behind its first four bytes."""
STORM: Final = 500
SIZES: Final = (0, 1, 1392, 1393, 1472, 1473, 8001, 65_507)


@PATHS
def test_both_ends_of_a_connection(bed: Testbed, family: Family, through: int, bare: int) -> None:
    for host in (through, bare):
        with connection(bed, family, family.far(host)) as pair:
            assert end(pair.client.getsockname()) == end(pair.server.getpeername())
            assert end(pair.client.getpeername()) == end(pair.server.getsockname())
            assert end(pair.client.getsockname())[0] == source_of(family, host)


@PATHS
def test_both_ends_of_datagrams(bed: Testbed, family: Family, through: int, bare: int) -> None:
    for host in (through, bare):
        with datagrams(bed, family, family.far(host)) as pair:
            pair.client.send(b"question")
            data, peer = pair.server.recvfrom(100)
            assert (data, end(peer)) == (b"question", end(pair.client.getsockname()))
            assert peer[0] == source_of(family, host)
            pair.server.sendto(b"answer", peer)
            assert pair.client.recv(100) == b"answer"


# Hop limit and traffic class


def fields(sock: socket.socket, version: int) -> tuple[int, int]:
    """Hop limit and traffic class of the next datagram."""
    for option in (RECEIVE_TOS[version], RECEIVE_TTL[version]):
        assert sock.getsockopt(LEVEL[version], option)
    _, ancillary, _, _ = sock.recvmsg(100, 200)
    values = {kind: data[0] for _, kind, data in ancillary}
    if version == 4:
        return values[socket.IP_TTL], values[socket.IP_TOS]
    return values[socket.IPV6_HOPLIMIT], values[socket.IPV6_TCLASS]


@PATHS
def test_hop_limit_and_traffic_class_of_datagrams(
    bed: Testbed, family: Family, through: int, bare: int
) -> None:
    version = family.version
    seen = []
    for host in (through, bare):
        with datagrams(bed, family, family.far(host)) as pair:
            for sock in (pair.client, pair.server):
                for option in (RECEIVE_TOS[version], RECEIVE_TTL[version]):
                    sock.setsockopt(LEVEL[version], option, 1)
            peer = pair.client.getsockname()
            found = []
            for tos, ttl in ((0, 64), (0xB8, 50), (0x20, 200)):
                for sock in (pair.client, pair.server):
                    sock.setsockopt(LEVEL[version], TOS[version], tos)
                    sock.setsockopt(LEVEL[version], TTL[version], ttl)
                pair.client.send(b"out")
                out = fields(pair.server, version)
                pair.server.sendto(b"back", peer)
                found.append((out, fields(pair.client, version)))
            seen.append(found)
    ours, kernels = seen
    assert [((ttl + 1, tos), back) for (ttl, tos), back in ours] == kernels


@PATHS
def test_a_traffic_class_that_is_set_on_a_connection(
    bed: Testbed, family: Family, through: int, bare: int
) -> None:
    version = family.version
    seen = []
    for host in (through, bare):
        with Arrivals(bed.far) as arrivals, connection(bed, family, family.far(host)) as pair:
            pair.client.setsockopt(LEVEL[version], TOS[version], 0x48)
            pair.client.sendall(b"classified")
            found = arrivals.wait_for(lambda each: each.data.endswith(b"classified"), "the data")
            seen.append((found.hop_limit + (host == through), found.traffic_class))
            assert found.traffic_class == 0x48
    assert seen[0] == seen[1]


# Sizes


@PATHS
def test_datagrams_of_all_sizes(bed: Testbed, family: Family, through: int, bare: int) -> None:
    """The far host's first answer that is longer than the VPN's MTU is lost on every path."""
    exchange(bed.router, family.far(bare), ECHO, sends=[1400], patience=0.2)
    ours, kernels = (
        [
            {name: value for name, value in one.items() if name in ("length", "digest")}
            for one in exchange(bed.router, family.far(host), ECHO, sends=SIZES).found
        ]
        for host in (through, bare)
    )
    assert ours == kernels
    assert [one["length"] for one in ours] == list(SIZES)


@PATHS
def test_datagrams_that_are_sent_together(
    bed: Testbed, family: Family, through: int, bare: int
) -> None:
    """UDP segmentation (UDP_SEGMENT), twice one behind the other."""
    for host in (through, bare):
        with datagrams(bed, family, family.far(host)) as pair:
            pair.client.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1000)
            data = bytes(range(250)) * 78
            for _ in range(2):
                pair.client.send(data)
            received = [pair.server.recv(2000) for _ in range(40)]
            assert [len(one) for one in received] == ([1000] * 19 + [500]) * 2
            assert b"".join(received) == data * 2


@PATHS
def test_many_datagrams_stay_in_order(
    bed: Testbed, family: Family, through: int, bare: int
) -> None:
    """Of two sizes, in windows that have room at the far host."""
    for host in (through, bare):
        with datagrams(bed, family, family.far(host)) as pair:
            for first in range(0, 1000, 50):
                numbers = range(first, first + 50)
                window = [bytes([number % 251]) * (100 + number % 2) for number in numbers]
                for data in window:
                    pair.client.send(data)
                assert [pair.server.recv(200) for _ in window] == window


@PATHS
def test_a_storm_of_pings(bed: Testbed, family: Family, through: int, bare: int) -> None:
    """Each sent as soon as the answer to the one before is there."""
    for host in (through, bare):
        flood = ping.answered(bed.router, family.far(host), "-f", "-i", "0", count=STORM)
        assert flood.received == STORM


# Anything else

MARK = b"arrives unchanged"


def header(family: Family, host: int) -> Packet:
    source, destination = source_of(family, host), family.far(host)
    if family.version == 4:
        return IP(src=source, dst=destination, id=0x4321, ttl=60)
    return IPv6(src=source, dst=destination, hlim=60)


def of_protocol(number: int) -> Callable[[Family, int], Packet]:
    def make(family: Family, host: int) -> Packet:
        packet = header(family, host)
        setattr(packet, "proto" if family.version == 4 else "nh", number)
        return packet / MARK

    return make


def with_options(options: bytes) -> Callable[[Family, int], Packet]:
    def make(family: Family, host: int) -> Packet:
        packet = header(family, host)
        packet.options = [IPOption(options)]
        return packet / ICMP() / MARK

    return make


def with_field(version: int, field: str, value: object) -> Callable[[Family, int], Packet]:
    def make(family: Family, host: int) -> Packet:
        packet = header(family, host)
        setattr(packet, field, value)
        return packet / UDP(sport=9, dport=9) / MARK

    return make


def with_extension(extension: Packet, upper: Packet) -> Callable[[Family, int], Packet]:
    return lambda family, host: header(family, host) / extension / upper / MARK


UNUSUAL = {
    (4, "record-route"): with_options(b"\x07\x0b\x04" + bytes(8) + b"\0"),
    (4, "timestamp"): with_options(b"\x44\x0c\x05\x00" + bytes(8)),
    (4, "router-alert"): with_options(b"\x94\x04\x00\x00"),
    (4, "class"): with_field(4, "tos", 0x2E),
    (4, "may-be-fragmented"): with_field(4, "flags", 0),
    (4, "dont-fragment"): with_field(4, "flags", "DF"),
    (4, "fragment"): with_field(4, "flags", "MF"),
    (6, "flow-label"): with_field(6, "fl", 0x54321),
    (6, "class"): with_field(6, "tc", 0x2E),
    (6, "hop-by-hop"): with_extension(IPv6ExtHdrHopByHop(), UDP(dport=9)),
    (6, "destination-options"): with_extension(IPv6ExtHdrDestOpt(), TCP(dport=9)),
    (6, "fragment"): with_extension(IPv6ExtHdrFragment(offset=4, m=1, id=7, nh=17), Packet()),
    **{
        (version, str(number)): of_protocol(number)
        for version in (4, 6)
        for number in (47, 50, 132)
    },
    (4, "2"): of_protocol(2),
}


@pytest.mark.parametrize(("version", "kind"), list(UNUSUAL))
@PATHS
def test_it_arrives_unchanged(
    bed: Testbed, version: int, kind: str, through: int, bare: int
) -> None:
    family = next(each for each in FAMILIES if each.version == version)
    make = UNUSUAL[version, kind]
    # The decision is made about the first and cached for the second.
    ours, again, kernels = (arrived(bed, family, make, host) for host in (through, through, bare))
    assert ours == again
    assert ours[0] + 1 == kernels[0]
    assert ours[1:] == kernels[1:]


def arrived(
    bed: Testbed, family: Family, make: Callable[[Family, int], Packet], host: int
) -> tuple[int, str, bytes]:
    """Hop limit, interface, and the rest of the packet but for what the hosts differ by."""
    kind = socket.AF_INET if family.version == 4 else socket.AF_INET6
    raw = sockets.within(
        bed.router, lambda: socket.socket(kind, socket.SOCK_RAW, socket.IPPROTO_RAW)
    )
    destination = socket.inet_pton(kind, family.far(host))
    with raw, Arrivals(bed.far) as arrivals:
        raw.sendto(bytes(make(family, host)), (family.far(host), 0))
        found = arrivals.wait_for(
            lambda each: MARK in each.data and destination in each.data, "the packet"
        )
    return found.hop_limit, found.interface, without_host(found, family)


def without_host(found: Arrival, family: Family) -> bytes:
    data = bytearray(found.data)
    if family.version == 4:
        data[8] = 0
        data[10:12] = bytes(2)
        data[16:20] = bytes(4)
        if data[20] == TIMESTAMP:
            data[24:32] = bytes(8)
    else:
        data[7] = 0
        data[24:40] = bytes(16)
    at = data.find(MARK)
    upper = (data[0] & 15) * 4 if family.version == 4 else 40
    if at - upper >= 8 and data[9 if family.version == 4 else 6] in (17, 0, 60, 44):
        data[at - 2 : at] = bytes(2)  # the checksum of UDP
    if at - upper >= 20 and data[6] == 60:
        data[at - 4 : at - 2] = bytes(2)  # the checksum of TCP
    return bytes(data)


@pytest.mark.parametrize("options", [("-R",), ("-T", "tsonly"), ("-T", "tsandaddr")])
@PATHS
def test_options_of_ping(bed: Testbed, options: tuple[str, ...], through: int, bare: int) -> None:
    """Route and stamps have the same hosts, of which the far host is named by its own address."""
    found = []
    for host in (through, bare):
        pinged = ping.answered(bed.router, V4.far(host), *options, count=1)
        assert pinged.received == 1
        lines = pinged.text.replace(V4.far(host), "FAR").splitlines()
        hosts = [word for line in lines for word in line.split() if "." in word and "=" not in word]
        found.append([word for word in hosts if word.replace(".", "").isdigit()])
    assert found[0] == found[1]


@PATHS
def test_a_query_for_the_time(bed: Testbed, through: int, bare: int) -> None:
    """Of ICMP; IPv6 has none that Linux answers."""
    outcomes = [probes.icmp_timestamp(bed.router, V4.far(host)) for host in (through, bare)]
    assert outcomes == ["answered"] * 2
