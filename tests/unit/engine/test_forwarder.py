"""Forwarding of each packet: by rule, by type, and when it is invalid."""

from __future__ import annotations

import errno
from random import Random

import pytest

from router.flows.drops import Drop
from router.flows.icmp import IDLE
from router.wire import icmp, ip
from tests.unit.engine.world import OWN, World, far, reply_to
from tests.unit.wire.packets import (
    ICMP,
    INSIDE,
    IP,
    TCP,
    UDP,
    IPv6,
    Packet,
    decoded,
    echo_request,
)

REPLY, DROP, REJECT, OFFICE, DOWN, HOME = 1, 2, 3, 4, 5, 9
BOTH = pytest.mark.parametrize("version", [4, 6])


def ping(version: int, host: int, **fields: int) -> bytes:
    return echo_request(version, destination=far(version, host), **fields)  # type: ignore[arg-type]


def header(version: int, host: int) -> Packet:
    if version == 4:
        return IP(src=INSIDE[4], dst=far(4, host))
    return IPv6(src=INSIDE[6], dst=far(6, host))


def error_in(packets: list[bytes]) -> tuple[int, int]:
    """Type and code of the one ICMP error among `packets`."""
    (packet,) = packets
    message = bytes(decoded(packet).payload)
    return message[0], message[1]


@BOTH
@pytest.mark.parametrize(("host", "policy"), [(HOME, "home"), (OFFICE, "office")])
def test_a_ping_goes_out_by_its_rule_and_its_answer_comes_back(
    world: World, version: int, host: int, policy: str
) -> None:
    assert world.send(ping(version, host, identifier=77)) == []
    ((request, outside_id),) = world.sent(policy, version)
    own = OWN["eth0" if policy == "home" else "wg0"][version == 6]
    (delivered,) = world.answer(policy, reply_to(request, outside_id, own))
    read = decoded(delivered)
    assert (read.src, read.dst) == (far(version, host), INSIDE[version])
    assert read.payload.id == 77
    assert world.drops == {}


@BOTH
def test_an_answer_by_another_interface_is_not_ours(world: World, version: int) -> None:
    world.send(ping(version, HOME))
    ((request, outside_id),) = world.sent("home", version)
    assert (
        world.answer(
            "office", reply_to(request, outside_id, "10.8.0.2" if version == 4 else "fd08::2")
        )
        == []
    )
    assert world.drops == {"no-binding": 1}


@BOTH
def test_a_late_answer_at_59_seconds_arrives_and_at_61_does_not(world: World, version: int) -> None:
    world.send(ping(version, HOME), now=0.0)
    ((request, outside_id),) = world.sent("home", version)
    answer = reply_to(request, outside_id, OWN["eth0"][version == 6])
    world.forwarder.expire(IDLE - 1)
    assert len(world.answer("home", answer, now=IDLE - 1)) == 1
    world.forwarder.expire(2 * IDLE)
    assert world.answer("home", answer, now=2 * IDLE) == []
    assert world.drops == {"no-binding": 1}


@BOTH
def test_reply_is_silent_towards_the_network(world: World, version: int) -> None:
    (answer,) = world.send(ping(version, REPLY))
    assert decoded(answer).src == far(version, REPLY)
    assert not world.sent("home", version)


@BOTH
def test_drop_is_silent_and_counted(world: World, version: int) -> None:
    assert world.send(ping(version, DROP)) == []
    assert world.drops == {"drop": 1}


@BOTH
@pytest.mark.parametrize("host", [REJECT])
def test_reject_sends_administratively_prohibited(world: World, version: int, host: int) -> None:
    assert error_in(world.send(ping(version, host))) == ((3, 13) if version == 4 else (1, 1))
    assert world.drops == {"rejected": 1}


@BOTH
def test_a_policy_that_is_down_is_replaced_by_its_on_down(world: World, version: int) -> None:
    assert world.send(ping(version, DOWN)) == []
    assert world.drops == {"drop": 1}


@BOTH
@pytest.mark.parametrize("host", [REPLY, REJECT])
def test_reject_resets_tcp_and_prohibits_udp(world: World, version: int, host: int) -> None:
    (answer,) = world.send(bytes(header(version, host) / TCP(dport=80, flags="S", seq=5)))
    assert decoded(answer)[TCP].flags == "RA"
    answers = world.send(bytes(header(version, host) / UDP(dport=53)))
    assert error_in(answers) == ((3, 13) if version == 4 else (1, 1))
    assert world.drops == {"rejected": 2}


@BOTH
def test_unsupported_protocols_are_refused(world: World, version: int) -> None:
    world.outbound("home").protocols.remove(ip.TCP)
    (answer,) = world.send(bytes(header(version, HOME) / TCP(dport=80, flags="S", seq=5)))
    assert decoded(answer)[TCP].flags == "RA"
    other = header(version, HOME)
    setattr(other, "proto" if version == 4 else "nh", 132)
    answers = world.send(bytes(other / b"12345678"))
    assert error_in(answers) == ((3, 2) if version == 4 else (4, 1))
    if version == 6:
        assert bytes(decoded(answers[0]).payload)[4:8] == (6).to_bytes(4, "big")
    assert world.drops == {"tcp-refused": 1, "protocol-refused": 1}


@BOTH
def test_what_bypasses_inside_the_tun_leaves_by_the_systems_route(
    world: World, version: int
) -> None:
    destination = "203.0.113.5" if version == 4 else "2001:db8:113::5"
    assert world.send(echo_request(version, destination=destination)) == []
    assert len(world.sent("home", version)) == 1
    nowhere = "10.77.0.1" if version == 4 else "fd99::1"
    answers = world.send(echo_request(version, destination=nowhere))
    assert error_in(answers) == ((3, 0) if version == 4 else (1, 0))


@BOTH
def test_a_hop_limit_that_is_used_up(world: World, version: int) -> None:
    answers = world.send(ping(version, HOME, hop_limit=1))
    assert error_in(answers) == ((11, 0) if version == 4 else (3, 0))
    assert decoded(answers[0]).src == ("192.168.7.2" if version == 4 else "fd77::2")
    world.send(ping(version, HOME))
    assert error_in(world.send(ping(version, HOME, hop_limit=1)))[0] in (11, 3)
    assert world.drops == {"hop-limit": 2}


@BOTH
def test_the_router_itself_answers_pings(world: World, version: int) -> None:
    peer = "192.168.7.2" if version == 4 else "fd77::2"
    (answer,) = world.send(echo_request(version, destination=peer))
    assert decoded(answer).src == peer


@BOTH
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (errno.ENETUNREACH, {4: (3, 0), 6: (1, 0)}),
        (errno.EHOSTUNREACH, {4: (3, 1), 6: (1, 3)}),
        (errno.EPERM, {4: (3, 13), 6: (1, 1)}),
        (errno.EMSGSIZE, {4: (3, 4), 6: (2, 0)}),
    ],
)
def test_send_errors_of_the_kernel_are_reported(
    world: World, version: int, code: int, expected: dict[int, tuple[int, int]]
) -> None:
    world.channel("home", version).error = OSError(code, "")
    answers = world.send(ping(version, HOME))
    assert error_in(answers) == expected[version]
    mtu = int.from_bytes(bytes(decoded(answers[0]).payload)[4:8], "big")
    assert mtu == (1300 if code == errno.EMSGSIZE else 0)


@BOTH
def test_a_full_buffer_is_counted_and_not_reported(world: World, version: int) -> None:
    world.channel("home", version).error = BlockingIOError()
    assert world.send(ping(version, HOME)) == []
    world.channel("home", version).error = OSError(errno.ENOBUFS, "")
    assert world.send(ping(version, HOME)) == []
    assert world.drops == {"no-buffer": 2}


@BOTH
def test_a_request_of_ours_that_comes_back_is_a_loop(world: World, version: int) -> None:
    world.send(ping(version, HOME))
    ((_, outside_id),) = world.sent("home", version)
    own = OWN["eth0"][version == 6]
    looped = echo_request(
        version, destination=far(version, HOME), source=own, identifier=outside_id
    )
    assert world.send(looped) == []
    assert world.drops == {"loop": 1}


@BOTH
def test_an_error_about_an_error_is_never_sent(world: World, version: int) -> None:
    request = ip.parse(ping(version, REJECT))
    writer = ip.parse(ping(version, HOME)).source
    about = ip.parse(icmp.error(request.destination, request, icmp.Error.NO_ROUTE))
    assert world.send(icmp.error(writer, about, icmp.Error.NO_ROUTE)) == []
    assert world.drops == {"no-binding": 1}


@pytest.mark.parametrize(
    ("source", "destination", "reason"),
    [
        ("127.0.0.1", "198.51.100.9", "bad-source"),
        ("192.168.7.2", "198.51.100.3", "bad-source"),
        ("198.51.100.3", "198.51.100.3", "bad-source"),
        ("0.0.0.0", "198.51.100.3", "bad-source"),
        ("255.255.255.255", "198.51.100.3", "bad-source"),
        ("224.0.0.1", "198.51.100.3", "bad-source"),
        ("192.168.7.1", "224.0.0.251", "multicast"),
        ("192.168.7.1", "255.255.255.255", "multicast"),
        ("::1", "2001:db8:100::3", "bad-source"),
        ("fe80::1", "2001:db8:100::3", "bad-source"),
        ("fd77::1", "ff02::2", "multicast"),
    ],
)
def test_impossible_addresses_are_never_answered(
    world: World, source: str, destination: str, reason: str
) -> None:
    version = 6 if ":" in source else 4
    assert world.send(echo_request(version, source=source, destination=destination)) == []
    assert world.drops == {reason: 1}


def test_a_non_first_fragment_is_never_answered(world: World) -> None:
    data = bytes(IP(src=INSIDE[4], dst=far(4, REJECT), frag=100, proto=17) / bytes(32))
    assert world.send(data) == []
    world.tun.written.clear()
    world.forwarder.expire(1000.0)
    assert world.tun.written == []
    assert world.drops == {"fragment": 1}


def test_errors_are_limited(world: World) -> None:
    answers = [world.send(ping(4, REJECT, sequence=number)) for number in range(500)]
    assert 100 <= sum(map(len, answers)) < 500
    assert world.drops == {"rejected": 500}


@BOTH
def test_a_wrong_checksum_is_neither_answered_nor_corrected(world: World, version: int) -> None:
    data = bytearray(ping(version, REPLY))
    data[-1] ^= 1
    assert world.send(bytes(data)) == []
    if version == 6:
        data = bytearray(ping(version, HOME))
        data[-1] ^= 1
        world.send(bytes(data))
        assert not world.sent("home", version)
    assert set(world.drops) == {"bad-checksum"}


@BOTH
def test_every_request_of_many_pingers_gets_its_own_answer(world: World, version: int) -> None:
    for identifier in range(200):
        world.send(ping(version, HOME, identifier=identifier))
    sent = world.sent("home", version)
    assert len({outside_id for _, outside_id in sent}) == 200
    own = OWN["eth0"][version == 6]
    for request, outside_id in Random(1).sample(list(sent), 200):
        (answer,) = world.answer("home", reply_to(request, outside_id, own))
        assert (
            decoded(answer).payload.id
            == request.data[request.payload + 4] << 8 | (request.data[request.payload + 5])
        )


@BOTH
def test_damaged_packets_never_raise(world: World, version: int) -> None:
    """Every byte flipped, every length, from the TUN and from outside, each counted or carried."""
    request = ping(version, HOME)
    world.send(request)
    ((view, outside_id),) = world.sent("home", version)
    answer = reply_to(view, outside_id, OWN["eth0"][version == 6])
    for packet in (request, answer, bytes(header(version, HOME) / TCP(dport=1))):
        for at in range(len(packet)):
            damaged = bytearray(packet)
            damaged[at] ^= 0xFF
            for data in (bytes(damaged), packet[:at]):
                world.send(data)
                try:
                    view = ip.parse(data)
                except ip.Malformed:
                    continue
                if view.version == version:
                    sock = world.channel("home", version)
                    world.forwarder.from_outside(sock, view, 1.0)
    assert world.drops[Drop.MALFORMED] > 0


def test_icmp_that_cannot_be_forwarded_is_refused_and_counted(world: World) -> None:
    solicitation = bytes(IP(src=INSIDE[4], dst=far(4, HOME)) / ICMP(type=10))
    assert error_in(world.send(solicitation)) == (3, 13)
    assert world.drops == {"icmp-type": 1}
