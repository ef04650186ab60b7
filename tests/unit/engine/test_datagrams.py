"""What becomes of UDP: out by a socket of its own, answers and errors back, refusals."""

from __future__ import annotations

import errno
from ipaddress import ip_address
from pathlib import Path
from random import Random

import pytest

from router.egress.ways import Change
from router.flows.drops import Drop
from router.flows.udp import IDLE
from router.platform.base import NetworkError
from router.wire import ip
from router.wire.fragments import split
from tests.unit.engine.memory_udp import AT_ONCE, MemoryUdpSocket, received
from tests.unit.engine.world import OWN, World, far
from tests.unit.wire.packets import INSIDE, IP, UDP, IPv6, Packet, Raw, decoded

REPLY, DROP, REJECT, OFFICE, DOWN, HOME, HOME2 = 1, 2, 3, 4, 5, 9, 10
BOTH = pytest.mark.parametrize("version", [4, 6])
PORT_UNREACHABLE = {4: (3, 3), 6: (1, 4)}
PROHIBITED = {4: (3, 13), 6: (1, 1)}
TIME_EXCEEDED = {4: (11, 0), 6: (3, 0)}
TOO_BIG = {4: (3, 4), 6: (2, 0)}
NETWORK_UNREACHABLE = {4: (3, 0), 6: (1, 0)}
LOCAL_HOST = {4: "10.1.0.2", 6: "fd01::2"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def datagram(
    version: int,
    host: int = HOME,
    payload: bytes = b"hello",
    *,
    source: str | None = None,
    sport: int = 4000,
    dport: int = 7,
    hop_limit: int = 64,
    traffic_class: int = 0,
    dont_fragment: bool = True,
    chksum: int | None = None,
) -> bytes:
    body = UDP(sport=sport, dport=dport, chksum=chksum) / Raw(payload)
    source = source or INSIDE[version]
    if version == 4:
        flags = "DF" if dont_fragment else 0
        header = IP(src=source, dst=far(4, host), ttl=hop_limit, tos=traffic_class, flags=flags)
        return bytes(header / body)
    return bytes(IPv6(src=source, dst=far(6, host), hlim=hop_limit, tc=traffic_class) / body)


def only_socket(world: World) -> MemoryUdpSocket:
    (sock,) = world.udp.open
    return sock


def endpoint(version: int, host: int = HOME, port: int = 7) -> tuple[str, int]:
    return far(version, host), port


def to(version: int) -> tuple[bytes, int]:
    return ip_address(far(version, HOME)).packed, 7


def error_in(packets: list[bytes]) -> tuple[Packet, tuple[int, int], bytes]:
    """The one ICMP error among `packets`: as scapy reads it, its type and code, its quote."""
    (packet,) = packets
    read = decoded(packet)
    message = bytes(read.payload)
    return read, (message[0], message[1]), message[8:]


def reported(
    version: int, what: tuple[int, int], offender: str, payload: bytes = b"hello", value: int = 0
) -> NetworkError:
    return NetworkError(ip_address(offender).packed, *what, value, *to(version), payload, 60, 0xC0)


@BOTH
@pytest.mark.parametrize(("host", "interface"), [(HOME, "eth0"), (OFFICE, "wg0")])
def test_a_datagram_goes_out_by_its_rule_and_its_answer_comes_back(
    world: World, version: int, host: int, interface: str
) -> None:
    assert world.send(datagram(version, host)) == []
    sock = only_socket(world)
    assert (sock.interface, sock.version, sock.port) == (interface, version, 4000)
    (sent,) = sock.sent
    assert (sent.payload, sent.address) == (b"hello", (far(version, host), 7))
    sock.incoming = [received(b"world!", endpoint(version, host), 60, 0x20)]
    (handed_in,) = world.receive(sock)
    read = decoded(handed_in)
    assert (read.src, read.dst) == (far(version, host), INSIDE[version])
    assert (read[UDP].sport, read[UDP].dport) == (7, 4000)
    assert bytes(read[UDP].payload) == b"world!"
    assert (read.ttl, read.tos) == (59, 0x20) if version == 4 else (read.hlim, read.tc) == (59, 32)
    assert world.drops == {}


@BOTH
def test_req_1_one_socket_for_an_inside_endpoint_whatever_the_destination(
    world: World, version: int
) -> None:
    """RFC 4787 REQ-1, and that the rules are asked for each destination all the same."""
    for host, dport in ((HOME, 7), (HOME, 8), (HOME2, 7), (HOME2, 53)):
        world.send(datagram(version, host, dport=dport))
    sock = only_socket(world)
    assert [sent.address for sent in sock.sent] == [
        (far(version, HOME), 7),
        (far(version, HOME), 8),
        (far(version, HOME2), 7),
        (far(version, HOME2), 53),
    ]
    world.send(datagram(version, OFFICE))
    assert {sock.interface for sock in world.udp.open} == {"eth0", "wg0"}
    assert len(world.forwarder.datagrams) == 5


@BOTH
def test_req_3_and_4_two_hosts_with_one_port_have_two_of_one_parity(
    world: World, version: int
) -> None:
    """RFC 4787 REQ-3 (no port overloading), REQ-4 (parity)."""
    world.send(datagram(version, sport=5061))
    world.send(datagram(version, sport=5061, source=LOCAL_HOST[version]))
    first, second = world.udp.open
    assert first.port == 5061
    assert second.port != 5061
    assert second.port % 2 == 1
    for sock, inside in ((second, LOCAL_HOST[version]), (first, INSIDE[version])):
        sock.incoming = [received(b"yours", endpoint(version), 60, 0)]
        (handed_in,) = world.receive(sock)
        assert (decoded(handed_in).dst, decoded(handed_in)[UDP].dport) == (inside, 5061)


@BOTH
def test_req_4_a_port_that_another_program_has_is_replaced(world: World, version: int) -> None:
    """RFC 4787 REQ-4."""
    world.udp.taken = set(range(3000, 5000)) | set(range(40000))
    world.send(datagram(version, sport=4000))
    assert only_socket(world).port % 2 == 0
    assert only_socket(world).port >= 40000


@BOTH
def test_req_5_a_mapping_ends_after_five_idle_minutes(world: World, version: int) -> None:
    """RFC 4787 REQ-5; its socket is closed with it."""
    world.send(datagram(version), now=0.0)
    sock = only_socket(world)
    world.forwarder.expire(IDLE - 1)
    assert not sock.closed
    world.forwarder.expire(IDLE + 1)
    assert sock.closed
    assert not world.udp.readers
    world.send(datagram(version), now=IDLE + 2)
    assert only_socket(world) is not sock


@BOTH
@pytest.mark.parametrize("direction", ["out", "in"])
def test_req_6_both_directions_refresh(world: World, version: int, direction: str) -> None:
    """RFC 4787 REQ-6."""
    world.send(datagram(version), now=0.0)
    sock = only_socket(world)
    if direction == "out":
        world.send(datagram(version), now=200.0)
    else:
        sock.incoming = [received(b"", endpoint(version), 60, 0)]
        assert len(world.receive(sock, now=200.0)) == 1
    world.forwarder.expire(IDLE + 199)
    assert not sock.closed
    world.forwarder.expire(IDLE + 201)
    assert sock.closed


@BOTH
def test_req_8_only_hosts_that_were_sent_to_may_answer(world: World, version: int) -> None:
    """RFC 4787 REQ-8: address-dependent filtering; what is filtered is counted."""
    world.send(datagram(version))
    sock = only_socket(world)
    sock.incoming = [
        received(b"stranger", endpoint(version, HOME2), 60, 0),
        received(b"other port", endpoint(version, HOME, 99), 60, 0),
    ]
    (handed_in,) = world.receive(sock)
    assert bytes(decoded(handed_in)[UDP].payload) == b"other port"
    assert decoded(handed_in)[UDP].sport == 99
    assert world.drops == {"filtered": 1}


@BOTH
def test_req_8_filtered_datagrams_refresh_nothing(world: World, version: int) -> None:
    world.send(datagram(version), now=0.0)
    sock = only_socket(world)
    sock.incoming = [received(b"stranger", endpoint(version, HOME2), 60, 0)]
    assert world.receive(sock, now=200.0) == []
    world.forwarder.expire(IDLE + 1)
    assert sock.closed


@BOTH
def test_req_11_a_full_table_refuses_and_disturbs_nobody(world: World, version: int) -> None:
    """RFC 4787 REQ-11; RFC 5508 REQ-8 gives the error."""
    for sport in range(1000, 1100):
        assert world.send(datagram(version, sport=sport)) == []
    read, what, _ = error_in(world.send(datagram(version, sport=2000)))
    assert what == PROHIBITED[version]
    assert read.src == ("192.168.7.2" if version == 4 else "fd77::2")
    assert world.drops == {"table-full": 1}
    assert len(world.udp.open) == 100
    assert world.send(datagram(version, HOME2, sport=1050)) == [], "old mappings take new flows"


@BOTH
@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_req_11_no_descriptor_or_memory_refuses_the_new_flow(
    world: World, version: int, code: int
) -> None:
    world.send(datagram(version, sport=1000))
    world.udp.raises = OSError(code, "")
    assert error_in(world.send(datagram(version, sport=2000)))[1] == PROHIBITED[version]
    assert world.drops == {"table-full": 1}
    assert world.send(datagram(version, sport=1000)) == []
    assert world.send(datagram(version, sport=2000)) == [], "it is tried again"


@BOTH
def test_req_11_no_port_refuses_the_new_flow(world: World, version: int) -> None:
    world.udp.taken = set(range(65536))
    assert error_in(world.send(datagram(version)))[1] == PROHIBITED[version]
    assert world.drops == {"table-full": 1}
    assert not world.udp.open
    assert len(world.forwarder.datagrams) == 0


@BOTH
def test_req_12_errors_come_back_about_what_was_sent_and_end_nothing(
    world: World, version: int
) -> None:
    """RFC 4787 REQ-12; the quote is what the application sent, the sender who reported it."""
    world.send(datagram(version), now=0.0)
    sock = only_socket(world)
    sock.incoming = [OSError(errno.ECONNREFUSED, "")]
    sock.queue = [reported(version, PORT_UNREACHABLE[version], far(version, HOME))]
    read, what, quote = error_in(world.receive(sock, now=200.0))
    assert what == PORT_UNREACHABLE[version]
    assert (read.src, read.dst) == (far(version, HOME), INSIDE[version])
    assert (read.ttl, read.tos) == (59, 0xC0) if version == 4 else (read.hlim, read.tc) == (59, 192)
    start = 20 if version == 4 else 40
    assert quote[start:] == datagram(version)[start:]
    assert decoded(quote).dst == far(version, HOME)
    assert world.send(datagram(version), now=IDLE - 1) == []
    assert only_socket(world) is sock


@BOTH
def test_req_12_errors_refresh_nothing(world: World, version: int) -> None:
    world.send(datagram(version), now=0.0)
    sock = only_socket(world)
    sock.queue = (
        [reported(version, TIME_EXCEEDED[version], "192.0.2.1")]
        if version == 4
        else [reported(version, TIME_EXCEEDED[version], "2001:db8:2::1")]
    )
    assert len(world.receive(sock, now=200.0)) == 1
    world.forwarder.expire(IDLE + 1)
    assert sock.closed


@BOTH
def test_an_error_of_our_own_kernel_is_told_by_the_router(world: World, version: int) -> None:
    """A packet from one of the system's own addresses is not accepted out of the TUN."""
    world.send(datagram(version))
    sock = only_socket(world)
    sock.queue = [reported(version, NETWORK_UNREACHABLE[version], OWN["eth0"][version == 6])]
    read, what, _ = error_in(world.receive(sock))
    assert what == NETWORK_UNREACHABLE[version]
    assert read.src == ("192.168.7.2" if version == 4 else "fd77::2")


@BOTH
def test_an_error_about_a_flow_that_is_none_is_dropped(world: World, version: int) -> None:
    world.send(datagram(version, dport=8))
    sock = only_socket(world)
    sock.queue = [reported(version, PORT_UNREACHABLE[version], far(version, HOME))]
    assert world.receive(sock) == []
    assert world.drops == {"no-binding": 1}


@BOTH
def test_an_error_that_was_waiting_does_not_cost_a_datagram(world: World, version: int) -> None:
    """The kernel reports it in place of sending, once."""
    world.send(datagram(version))
    sock = only_socket(world)
    sock.raises = [OSError(errno.ECONNREFUSED, "")]
    sock.queue = [reported(version, PORT_UNREACHABLE[version], far(version, HOME))]
    _, what, _ = error_in(world.send(datagram(version, payload=b"again")))
    assert what == PORT_UNREACHABLE[version]
    assert [sent.payload for sent in sock.sent] == [b"hello", b"again"]


@BOTH
def test_req_13_too_long_for_the_way_out_is_told_with_its_mtu(world: World, version: int) -> None:
    """RFC 4787 REQ-13: DF kept, and fragmentation needed with the MTU."""
    world.send(datagram(version))
    sock = only_socket(world)
    assert sock.sent[-1].dont_fragment
    sock.raises = [OSError(errno.EMSGSIZE, "")]
    sock.queue = [NetworkError(None, 0, 0, 1420, *to(version), b"", 0, 0)]
    read, what, _ = error_in(world.send(datagram(version, payload=bytes(1440))))
    assert what == TOO_BIG[version]
    assert int.from_bytes(bytes(read.payload)[4:8], "big") == 1420
    assert world.drops == {"too-big": 1}


@BOTH
def test_req_13_too_long_for_the_path_is_told_with_its_mtu(world: World, version: int) -> None:
    """RFC 4787 REQ-13, reported from further away."""
    world.send(datagram(version))
    sock = only_socket(world)
    offender = "192.0.2.1" if version == 4 else "2001:db8:2::1"
    sock.queue = [reported(version, TOO_BIG[version], offender, b"hell", 1300)]
    read, what, quote = error_in(world.receive(sock))
    assert what == TOO_BIG[version]
    assert read.src == offender
    assert int.from_bytes(bytes(read.payload)[4:8], "big") == 1300
    assert len(quote) == (32 if version == 4 else 52)


@BOTH
def test_req_13_what_may_be_fragmented_may_leave_so(world: World, version: int) -> None:
    whole = datagram(version, payload=bytes(4000), dont_fragment=False)
    for fragment in split(whole, 1500, 77):
        world.send(fragment)
    (sent,) = only_socket(world).sent
    assert len(sent.payload) == 4000
    assert not sent.dont_fragment


@BOTH
@pytest.mark.parametrize("size", [0, 1, 1473, 8000, 65507])
def test_req_14_fragments_in_any_order_and_long_answers(
    world: World, version: int, size: int
) -> None:
    """RFC 4787 REQ-14."""
    payload = Random(size).randbytes(size)
    fragments = list(split(datagram(version, payload=payload, dont_fragment=False), 1500, 7))
    Random(1).shuffle(fragments)
    for fragment in fragments if size > 1400 else [datagram(version, payload=payload)]:
        world.send(fragment)
    sock = only_socket(world)
    assert [sent.payload for sent in sock.sent] == [payload]
    sock.incoming = [received(payload, endpoint(version), 60, 0)]
    packets = world.receive(sock)
    assert all(len(packet) <= world.tun.mtu for packet in packets)
    body = b"".join(bytes(ip.parse(packet).body) for packet in packets)
    assert body[8:] == payload


@BOTH
def test_each_datagram_leaves_with_its_own_hop_limit_and_traffic_class(
    world: World, version: int
) -> None:
    for hop_limit, traffic_class in ((64, 0), (64, 0xB8), (2, 0xB8), (255, 0), (64, 0)):
        world.send(datagram(version, hop_limit=hop_limit, traffic_class=traffic_class))
    sent = [(one.hop_limit, one.traffic_class) for one in only_socket(world).sent]
    assert sent == [(63, 0), (63, 0xB8), (1, 0xB8), (254, 0), (63, 0)]


@BOTH
def test_a_hop_limit_that_is_used_up_is_told_by_the_router(world: World, version: int) -> None:
    for _ in range(2):  # without a flow, and with one
        read, what, _ = error_in(world.send(datagram(version, hop_limit=1)))
        assert what == TIME_EXCEEDED[version]
        assert read.src == ("192.168.7.2" if version == 4 else "fd77::2")
        world.send(datagram(version))
    assert len(only_socket(world).sent) == 2
    assert world.drops == {"hop-limit": 2}


@BOTH
def test_an_answer_whose_hop_limit_is_used_up_is_dropped(world: World, version: int) -> None:
    world.send(datagram(version))
    sock = only_socket(world)
    sock.incoming = [received(b"late", endpoint(version), 1, 0)]
    assert world.receive(sock) == []
    assert world.drops == {"hop-limit": 1}


@BOTH
def test_wrong_checksums_are_dropped_and_counted(world: World, version: int) -> None:
    for known in (False, True):
        assert world.send(datagram(version, chksum=0x1234)) == []
        assert len(world.udp.sockets) == known
        world.send(datagram(version))
    assert len(only_socket(world).sent) == 2
    assert world.drops == {"bad-checksum": 2}


@BOTH
def test_no_checksum_is_a_right_one_in_ipv4_alone(world: World, version: int) -> None:
    world.send(datagram(version, chksum=0))
    assert len(world.udp.sockets) == (version == 4)
    assert world.drops == ({} if version == 4 else {"bad-checksum": 1})


@BOTH
def test_what_is_shorter_than_its_packet_is_cut_to_its_length(world: World, version: int) -> None:
    body = datagram(version, payload=b"hell")[20 if version == 4 else 40 :]
    if version == 4:
        packet = bytes(IP(src=INSIDE[4], dst=far(4, HOME), proto=17) / Raw(body + b"padding"))
    else:
        packet = bytes(IPv6(src=INSIDE[6], dst=far(6, HOME), nh=17) / Raw(body + b"padding"))
    world.send(packet)
    (sent,) = only_socket(world).sent
    assert sent.payload == b"hell"


@BOTH
def test_port_zero_cannot_be_reached(world: World, version: int) -> None:
    assert error_in(world.send(datagram(version, dport=0)))[1] == PORT_UNREACHABLE[version]
    assert not world.udp.sockets
    world.send(datagram(version, sport=0))
    assert only_socket(world).port != 0


@BOTH
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (errno.ENETUNREACH, NETWORK_UNREACHABLE),
        (errno.EHOSTUNREACH, {4: (3, 1), 6: (1, 3)}),
        (errno.EPERM, PROHIBITED),
    ],
)
def test_what_the_kernel_says_of_a_datagram_is_told(
    world: World, version: int, code: int, expected: dict[int, tuple[int, int]]
) -> None:
    world.send(datagram(version))
    only_socket(world).raises = [OSError(code, "")]
    assert error_in(world.send(datagram(version)))[1] == expected[version]


@BOTH
@pytest.mark.parametrize("error", [BlockingIOError(), OSError(errno.ENOBUFS, "")])
def test_a_full_buffer_is_counted_and_not_told(world: World, version: int, error: OSError) -> None:
    world.send(datagram(version))
    only_socket(world).raises = [error]
    assert world.send(datagram(version)) == []
    assert world.drops == {"no-buffer": 1}


@BOTH
def test_a_datagram_of_ours_that_comes_back_is_a_loop(world: World, version: int) -> None:
    world.send(datagram(version))
    looped = datagram(version, source=OWN["eth0"][version == 6])
    assert world.send(looped) == []
    assert world.drops == {"loop": 1}


@BOTH
def test_a_way_out_that_changes_ends_its_flows(world: World, version: int) -> None:
    world.send(datagram(version))
    world.send(datagram(version, OFFICE))
    home, office = world.udp.open
    world.forwarder.forget(Change(world.ways.by_policy["home"], frozenset({4, 6})))
    assert (home.closed, office.closed) == (True, False)
    world.send(datagram(version))
    assert len(world.udp.open) == 2
    world.forwarder.close()
    assert not world.udp.open
    assert not world.udp.readers


@BOTH
def test_a_flood_on_one_socket_leaves_the_others_their_turn(world: World, version: int) -> None:
    world.send(datagram(version))
    sock = only_socket(world)
    sock.incoming = [received(b"", endpoint(version), 60, 0)] * (AT_ONCE + 10)
    assert len(world.receive(sock)) == AT_ONCE
    assert len(world.receive(sock)) == 10


@BOTH
def test_damaged_datagrams_never_raise(world: World, version: int) -> None:
    """Every byte flipped, every length: each is counted, refused or carried."""
    good = datagram(version, payload=bytes(range(20)))
    world.send(good)
    for at in range(len(good)):
        damaged = bytearray(good)
        damaged[at] ^= 0xFF
        world.send(bytes(damaged))
        world.send(good[:at])
    start = 20 if version == 4 else 40
    for size in range(len(good) - start):
        cut = bytearray(good[: start + size])
        field = slice(2, 4) if version == 4 else slice(4, 6)
        cut[field] = (size + (20 if version == 4 else 0)).to_bytes(2, "big")
        world.send(bytes(cut))
    assert {sent.payload for sock in world.udp.sockets for sent in sock.sent} == {bytes(range(20))}
    assert world.drops[Drop.MALFORMED] > 0
    assert world.drops[Drop.BAD_CHECKSUM] > 0
