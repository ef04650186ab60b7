"""`status` counts the answers to packets that leave directly, which never pass the router, and each
answer once, at the ingress of interfaces and by sockets.

Programs on the router's own machine bind to an address of the outbound here, so that their packets
leave directly whatever the routes say.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from struct import Struct

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6TimeExceeded, IPv6
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet

from router.platform.linux.only_on_linux import TCP_INFO
from tests.e2e import ping, sockets, udp
from tests.e2e.capture import Capture
from tests.e2e.marks import WITH_AND_WITHOUT_TCX
from tests.e2e.netns import Namespace
from tests.e2e.status import PING, Answers
from tests.e2e.tcp_bed import alongside
from tests.e2e.testbed import FAMILIES, Family, Testbed
from tests.e2e.tunrouter import Tunrouter, rules
from tests.e2e.wait import wait_until

HOME, OFFICE, NOT_CAPTURED = udp.HOME, udp.OFFICE, udp.BARE
"""The first of sixteen hosts each."""
LINES = [
    f"{udp.sixteen(family, first)} -> {policy}"
    for family in FAMILIES
    for first, policy in ((HOME, "home"), (OFFICE, "office"))
]
RULES = rules(*LINES)
HOSTS = pytest.mark.parametrize(
    ("policy", "host", "interface"),
    [("home", HOME, "eth0"), ("office", OFFICE, "wg0")],
    ids=["home", "office"],
)
INFO = Struct("=128xQ4xI")
"""tcpi_bytes_received, tcpi_segs_in (linux/tcp.h)."""
MOST_SEGMENTS = 65535
MOST_BYTES, BIG = 65536, 150_000
"""Of what is handed over to a device together: usually, and where the system may send BIG TCP."""
RETRANSMITTED = Struct("=208xQ")
"""tcpi_bytes_retrans."""
SEND_FRAME = """\
import socket, sys
interface, header, frame = sys.argv[1:]
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
    sock.setsockopt(263, 15, bool(header))  # PACKET_VNET_HDR
    sock.bind((interface, 0))
    sock.send(bytes.fromhex(header + frame))
"""
SET_GSO_SIZE = """\
import socket, struct, sys
interface, size = sys.argv[1:]
# IFLA_GSO_MAX_SIZE, IFLA_GSO_IPV4_MAX_SIZE (linux/if_link.h)
body = struct.pack("=BxHiII", 0, 0, socket.if_nametoindex(interface), 0, 0)
body += b"".join(struct.pack("=HHI", 8, kind, int(size)) for kind in (41, 63))
with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as sock:
    sock.send(struct.pack("=IHHII", 16 + len(body), 16, 5, 0, 0) + body)  # RTM_NEWLINK
    [error] = struct.unpack_from("=i", sock.recv(4096), 16)
    sys.exit(-error)
"""
IN_PAGES = Struct("=BBHHHH").pack(0, 0, 14, 0, 0, 0).hex()
"""A virtio-net header (struct virtio_net_hdr): only the link header is in one piece."""
LONG_FRAME, JUMBO_MTU = 5000, 6000
UDP_HEADERS = {4: 28, 6: 48}
TCP_HEADERS = {4: 52, 6: 72}
"""With the option timestamps; a connection's first answer has 8 bytes more."""

pytestmark = [
    pytest.mark.rules(RULES),
    pytest.mark.usefixtures("udp_servers", "router"),
    WITH_AND_WITHOUT_TCX,
]


def own(family: Family, interface: str) -> str:
    return family.eth0 if interface == "eth0" else family.wg0


@HOSTS
def test_pings(bed: Testbed, family: Family, policy: str, host: int, interface: str) -> None:
    answers = Answers(bed.router, policy)
    source = own(family, interface)
    arguments = (family.far(host), "-I", source, "-c", "7", "-l", "7", "-W", "20")
    before = bed.router.counter(interface, "rx_packets")
    running_ping = ping.start(bed.router, *arguments)
    try:
        assert ping.read(running_ping).received == 7
    finally:
        running_ping.close()
    assert answers.since() == (7, 7 * PING[family.version])
    assert bed.router.counter(interface, "rx_packets") - before >= 7


@HOSTS
def test_datagrams(bed: Testbed, family: Family, policy: str, host: int, interface: str) -> None:
    """With their fragments, which the network knows as packets of their own."""
    answers = Answers(bed.router, policy)
    source = own(family, interface)
    seen = udp.exchange(bed.router, family.far(host), source=source, sends=[5, 100, 1000])
    assert [each[0] for each in seen.sources] == [source]
    assert answers.since() == (3, 1105 + 3 * UDP_HEADERS[family.version])


@pytest.mark.parametrize("number", [1, MOST_SEGMENTS])
@HOSTS
def test_downloads(
    bed: Testbed, family: Family, policy: str, host: int, interface: str, number: int
) -> None:
    """What arrives before the system has cut it counts as the segments that it stands for: as many
    as the connection itself counts."""
    with segments_at_once(bed, number):
        check_download(bed, family, policy, host, interface, bed.far)


def test_segments_of_more_than_64_kb(bed: Testbed, family: Family) -> None:
    """BIG TCP: the IP header does not have their length. From the home gateway, as those of IPv6
    are not forwarded."""
    with (
        far_address(bed.gw, family, HOME),
        big_segments(bed.gw, "home0"),
        Capture(bed.router, f"greater {MOST_BYTES}") as capture,
    ):
        check_download(bed, family, "home", HOME, "eth0", bed.gw)
        capture.settle()
        assert " eth0  In  IP" in capture.output


def check_download(
    bed: Testbed, family: Family, policy: str, host: int, interface: str, sender: Namespace
) -> None:
    size = 3_000_000
    with sockets.listener(sender) as listener:
        answers = Answers(bed.router, policy)
        with closing(sockets.stream(bed.router, family)) as client:
            client.bind((own(family, interface), 0))
            client.connect((family.far(host), sockets.port_of(listener)))
            server, peer = listener.accept()
            assert peer[0].removeprefix("::ffff:") == own(family, interface)
            with server:
                with alongside(lambda: server.sendall(bytes(size))):
                    received = 0
                    while received < size:
                        received += len(client.recv(1 << 20))
                server.shutdown(socket.SHUT_WR)
                assert client.recv(1) == b""
                found = wait_until(
                    lambda: counted_at_rest(answers, client), "nothing to arrive meanwhile"
                )
                retransmitted = bytes_retransmitted(server)
    assert found is not None
    packets, total, payload, segments = found
    assert packets == segments
    assert payload - size in (0, 1), "the end of the stream counts as one byte"
    arrived_again = total - (size + segments * TCP_HEADERS[family.version] + 8)
    assert 0 <= arrived_again <= retransmitted


def counted_at_rest(answers: Answers, sock: socket.socket) -> tuple[int, int, int, int] | None:
    """Packets and bytes as `status` counts them, payload and segments as the connection does; None
    if something has arrived in between, sent again on a busy machine."""

    def info() -> tuple[int, int]:
        found = sock.getsockopt(socket.IPPROTO_TCP, TCP_INFO, INFO.size)
        payload, segments = INFO.unpack(found)
        return payload, segments

    before = info()
    counted = answers.since()
    return (*counted, *before) if info() == before else None


def bytes_retransmitted(sock: socket.socket) -> int:
    info = sock.getsockopt(socket.IPPROTO_TCP, TCP_INFO, RETRANSMITTED.size)
    return int(RETRANSMITTED.unpack(info)[0])


@contextmanager
def segments_at_once(bed: Testbed, number: int) -> Iterator[None]:
    """How many the far host hands over to its devices together."""
    devices = ("home0", "vpn0")
    bed.far.ip(*(f"link set {device} gso_max_segs {number}" for device in devices))
    try:
        yield
    finally:
        bed.far.ip(*(f"link set {device} gso_max_segs {MOST_SEGMENTS}" for device in devices))


@contextmanager
def big_segments(namespace: Namespace, device: str) -> Iterator[None]:
    """That it hands over to the device."""
    namespace.run(sys.executable, "-c", SET_GSO_SIZE, device, str(BIG))
    try:
        yield
    finally:
        namespace.run(sys.executable, "-c", SET_GSO_SIZE, device, str(MOST_BYTES))


@HOSTS
def test_relayed_flows_count_once(
    bed: Testbed, family: Family, policy: str, host: int, interface: str
) -> None:
    answers = Answers(bed.router, policy)
    udp.exchange(bed.client, family.far(host), sends=[10, 20])
    ping_from(bed.client, family.far(host + 1))
    size = 2 * UDP_HEADERS[family.version] + 30 + PING[family.version]
    assert answers.since() == (3, size)


def test_what_is_no_answer(bed: Testbed, family: Family) -> None:
    """Requests from hosts that no rule names, ICMP errors, and what arrives for another host."""
    answers = [Answers(bed.router, policy) for policy in ("home", "office", "bypass")]
    before = bed.router.counter("eth0", "rx_packets")
    ping_from(bed.far, family.eth0)
    with far_address(bed.far, family, NOT_CAPTURED) as source:
        ping_from(bed.far, family.eth0, "-I", source)
    with (
        far_address(bed.far, family, HOME) as source,
        sockets.datagram(bed.client, family) as client,
    ):
        client.bind((family.client, 0))
        with sockets.datagram(bed.far, family) as server:
            server.bind((source, 0))
            server.sendto(b"for another host", client.getsockname()[:2])
        assert client.recv(100) == b"for another host"
    seen = udp.exchange(bed.router, family.far(HOME), udp.CLOSED, source=family.eth0)
    assert "ECONNREFUSED" in str(seen.found)
    assert bed.router.counter("eth0", "rx_packets") - before >= 4
    assert [each.since() for each in answers] == [(0, 0)] * 3


def test_what_arrives_in_a_vlan_is_of_another_interface(bed: Testbed, family: Family) -> None:
    answers = [Answers(bed.router, policy) for policy in ("home", "office", "bypass")]
    before = bed.router.counter("eth0", "rx_packets")
    link = bed.router.run("cat", "/sys/class/net/eth0/address").stdout.strip()
    head = (IP if family.version == 4 else IPv6)(src=family.far(HOME), dst=family.eth0)
    for vlan in (5, 0):
        frame = Ether(dst=link) / Dot1Q(vlan=vlan) / head / UDP(dport=9) / b"1"
        send_frame(bed, frame)
    wait_until(lambda: bed.router.counter("eth0", "rx_packets") - before >= 2, "both frames")
    # Identifier 0 only has a priority: its packet is one of the interface itself.
    assert [each.since() for each in answers] == [(1, len(head / UDP() / b"1")), (0, 0), (0, 0)]


def test_packets_that_are_in_pages(bed: Testbed, family: Family) -> None:
    """As some drivers leave them; what is an answer is read in them too."""
    answers = Answers(bed.router, "home")
    before = bed.router.counter("eth0", "rx_packets")
    link = bed.router.run("cat", "/sys/class/net/eth0/address").stdout.strip()
    head = (IP if family.version == 4 else IPv6)(src=family.far(HOME), dst=family.eth0)
    reply = ICMP(type="echo-reply") if family.version == 4 else ICMPv6EchoReply()
    error = ICMP(type="time-exceeded") if family.version == 4 else ICMPv6TimeExceeded()
    with mtu_between(bed, JUMBO_MTU):
        for each in (UDP(dport=9), reply, error):
            send_frame(bed, Ether(dst=link) / head / each / bytes(LONG_FRAME), header=IN_PAGES)
        wait_until(lambda: bed.router.counter("eth0", "rx_packets") - before >= 3, "the frames")
    assert answers.since() == (2, 2 * (LONG_FRAME + UDP_HEADERS[family.version]))


def test_requests_of_captured_hosts_count(bed: Testbed, family: Family) -> None:
    """As this machine's answers to them, which pass the router, do."""
    answers = Answers(bed.router, "home")
    with far_address(bed.far, family, HOME) as source:
        ping_from(bed.far, family.eth0, "-I", source)
    assert answers.since() == (1, PING[family.version])


def test_other_rules_keep_the_counts(bed: Testbed, router: Tunrouter, family: Family) -> None:
    home, office = Answers(bed.router, "home"), Answers(bed.router, "office")
    ping_from(bed.router, family.far(HOME), "-I", family.eth0)
    size = PING[family.version]
    try:
        assert "not" not in router.reload(rules(f"{family.far(HOME)} -> office", *LINES))
        ping_from(bed.router, family.far(HOME), "-I", family.wg0)
        with far_address(bed.far, family, HOME) as source:
            ping_from(bed.far, family.eth0, "-I", source)
        assert (home.since(), office.since()) == ((1, size), (1, size))
    finally:
        router.reload(RULES)
    ping_from(bed.router, family.far(HOME), "-I", family.eth0)
    assert (home.since(), office.since()) == ((2, 2 * size), (1, size))


def send_frame(bed: Testbed, frame: Packet, header: str = "") -> None:
    """From the home gateway to the router."""
    bed.gw.run(sys.executable, "-c", SEND_FRAME, "home0", header, bytes(frame).hex())


@contextmanager
def mtu_between(bed: Testbed, mtu: int) -> Iterator[None]:
    """The router and the home gateway."""
    ends = ((bed.router, "eth0"), (bed.gw, "home0"))
    for namespace, interface in ends:
        namespace.ip(f"link set {interface} mtu {mtu}")
    try:
        yield
    finally:
        for namespace, interface in ends:
            namespace.ip(f"link set {interface} mtu 1500")


@contextmanager
def far_address(namespace: Namespace, family: Family, host: int) -> Iterator[str]:
    """An address of its own, which a program there can bind to."""
    address = family.far(host)
    namespace.ip(f"addr add {address} dev lo" + (" nodad" if family.version == 6 else ""))
    try:
        yield address
    finally:
        namespace.ip(f"addr del {address} dev lo")


def ping_from(namespace: Namespace, address: str, *options: str) -> None:
    """Exactly one, which is answered."""
    namespace.run("ping", "-c1", "-W", "20", *options, address)
