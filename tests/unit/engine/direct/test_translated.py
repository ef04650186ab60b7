"""Answers to requests that the host has translated leave by the packet socket, unchanged; what this
machine begins from the same address leaves as before."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest

from router.platform.base.packet_filter import TrackedRequest
from router.wire import icmp, ip
from router.wire.offload import HEADER
from tests.unit.engine.world import ETH0, OWN, World, far
from tests.unit.wire.packets import IP, TCP, UDP, IPv6, Packet, echo_request

BOTH = pytest.mark.parametrize("version", [4, 6])
HOST = 9


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path, local={"eth0": ETH0})
    made.translates = True
    made.direct.forget()
    return made


def own(version: int) -> str:
    return OWN["eth0"][version == 6]


def packet(version: int, body: Packet) -> bytes:
    if version == 4:
        return bytes(IP(src=own(4), dst=far(4, HOST), ttl=63) / body)
    return bytes(IPv6(src=own(6), dst=far(6, HOST), hlim=63) / body)


def track(world: World, version: int, *, is_translated: bool = True) -> None:
    ends = ip_address(own(version)).packed, ip_address(far(version, HOST)).packed
    world.requests[ends] = TrackedRequest(is_translated=is_translated)


def frames(world: World) -> list[bytes]:
    return [each[HEADER:] for each in world.raw.frames.sent]


@BOTH
def test_answers_to_a_translated_request(world: World, version: int) -> None:
    track(world, version)
    answers = [packet(version, TCP(sport=80, dport=4000, flags=flags)) for flags in ("SA", "A")]
    answers.append(packet(version, UDP(sport=53, dport=4000) / b"answer"))
    request = echo_request(version, source=far(version, HOST), destination=own(version))
    answers.append(icmp.echo_reply(ip.parse(request)))
    for each in answers:
        assert world.send(each) == []
    assert frames(world) == answers
    world.requests.clear()
    assert world.send_together(answers) == []
    assert frames(world) == answers * 2
    assert world.raw.sent == []
    assert world.drops == {}


@BOTH
def test_a_reset_of_a_request_that_is_tracked_no_more(world: World, version: int) -> None:
    reset = packet(version, TCP(sport=80, dport=4000, flags="RA", seq=0))
    assert world.send(reset) == []
    assert frames(world) == [reset]


@BOTH
def test_what_this_machine_begins_or_answers_itself(world: World, version: int) -> None:
    """Also to a port that the other host has asked from."""
    track(world, version)
    begins = packet(version, TCP(sport=5000, dport=4000, flags="S"))
    assert world.send(begins) == []
    answer = packet(version, TCP(sport=80, dport=4000, flags="SA"))
    world.send_together([answer])
    assert frames(world) == [answer]
    track(world, version, is_translated=False)
    world.send_together([packet(version, TCP(sport=81, dport=4000, flags="SA"))])
    assert len(frames(world)) == 1
    assert len(world.raw.sent) == 2


@BOTH
def test_nothing_is_asked_where_the_host_translates_no_requests(world: World, version: int) -> None:
    track(world, version)
    world.translates = False
    world.direct.forget()
    world.send(packet(version, TCP(sport=80, dport=4000, flags="SA")))
    assert frames(world) == []
    assert len(world.raw.sent) == 1


@BOTH
def test_answers_are_held_until_the_request_is_known(world: World, version: int) -> None:
    world.replies_at_once = False
    track(world, version)
    answers = [packet(version, TCP(sport=80, dport=4000, flags=flags)) for flags in ("SA", "A")]
    for each in answers:
        assert world.send(each) == []
    assert (frames(world), world.asked) == ([], 1)
    world.reply()
    assert frames(world) == answers


@BOTH
def test_what_is_no_such_answer_leaves_when_that_is_known(world: World, version: int) -> None:
    world.replies_at_once = False
    begins = packet(version, UDP(sport=5000, dport=4000) / b"question")
    for _ in range(2):
        assert world.send(begins) == []
    assert world.raw.sent == []
    world.reply()
    assert [ip.parse(each.packet).body for each in world.raw.sent] == [ip.parse(begins).body] * 2
    assert (frames(world), world.drops) == ([], {})


@BOTH
@pytest.mark.parametrize("is_late", [True, False], ids=["is late", "does not reply in time"])
def test_a_missing_reply_decides_nothing(world: World, version: int, is_late: bool) -> None:
    """The first answer of a connection is dropped, as it is repeated; a datagram leaves as before,
    and the next one is asked about again."""
    world.is_late, world.replies_at_once = is_late, False
    track(world, version)
    accepts = packet(version, TCP(sport=80, dport=4000, flags="SA"))
    answer = packet(version, UDP(sport=53, dport=4000) / b"answer")
    for each in (accepts, answer):
        assert world.send(each) == []
    world.timers.run_until(2.0)
    assert world.drops == {"no-buffer": 1}
    assert [ip.parse(each.packet).protocol for each in world.raw.sent] == [ip.UDP]
    world.is_late = False
    for each in (accepts, answer):
        assert world.send(each, 3.0) == []
    world.reply()
    assert frames(world) == [accepts, answer]
    assert len(world.raw.sent) == 1
