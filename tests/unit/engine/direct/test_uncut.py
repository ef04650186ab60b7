"""Frames that are yet to be cut: when they leave whole, and when in segments."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from router.engine.direct import flow as module
from router.engine.direct.flow import SAMPLE_INTERVAL
from router.wire import offload
from router.wire.headers import fill_in_v4_checksum
from tests.unit.engine.direct.cases import (
    ETH0,
    HOP_LIMIT,
    PROHIBITED,
    TOO_BIG,
    TTL_AT,
    direct_world,
    error_in,
    frames,
    left,
    refuse,
    segment,
    uncut,
    value_in,
)
from tests.unit.engine.world import World
from tests.unit.wire.packets import IP, TCP, decoded

BOTH = pytest.mark.parametrize("version", [4, 6])
DATA = bytes(range(256)) * 10
SOON = 1.0 + SAMPLE_INTERVAL / 2
REJECTED = 3
LATER = 1.0 + SAMPLE_INTERVAL
QUARTER = 0.25
"""Seconds."""


@pytest.fixture
def world(tmp_path: Path, version: int) -> World:
    """A connection has been opened."""
    return opened(direct_world(tmp_path), version)


def opened(world: World, version: int) -> World:
    assert world.send_together([segment(version, "S")]) == []
    world.raw.sent.clear()
    return world


@BOTH
def test_a_turn_counts_the_packets_that_frames_are_cut_into(world: World, version: int) -> None:
    """Answers of a local server, about which nothing is decided, so that each becomes one."""
    world.tun.incoming = [uncut(version, bytes(40_000), host=REJECTED)] * 9
    world.reader.turn(64, 1.0)
    assert len(left(world)) == 80
    assert len(world.tun.incoming) == 7


def payloads(world: World) -> bytes:
    """What the segments that have left hold, in their order; each is checked."""
    found = b""
    for data in left(world):
        packet = IP(data) if data[0] >> 4 == 4 else decoded(data)
        assert packet[TCP].seq == 100 + len(found)
        found += bytes(packet[TCP].payload)
    return found


@BOTH
def test_the_first_is_cut_and_the_next_are_not(world: World, version: int) -> None:
    given = uncut(version, DATA)
    assert frames(world, [given]) == []
    assert (payloads(world), len(left(world))) == (DATA, 3)
    assert world.raw.frames.sent == []
    assert frames(world, [given, given], SOON) == []
    assert len(left(world)) == 3
    assert len(world.raw.frames.sent) == 2


@BOTH
def test_one_in_each_interval_is_cut(world: World, version: int) -> None:
    given = uncut(version, DATA)
    for now, cut in ((1.0, True), (SOON, False), (LATER, True), (LATER + 0.01, False)):
        world.raw.sent.clear()
        frames(world, [given], now)
        assert bool(left(world)) == cut


@BOTH
def test_each_connection_has_its_own_first(world: World, version: int) -> None:
    frames(world, [uncut(version, DATA, sport=4000)])
    world.raw.sent.clear()
    frames(world, [uncut(version, DATA, sport=4001)], SOON)
    assert payloads(world) == DATA


@BOTH
def test_a_segment_counts_its_hop(world: World, version: int) -> None:
    frames(world, [uncut(version, DATA, hops=9)])
    assert {data[TTL_AT[version]] for data in left(world)} == {8}


@BOTH
@pytest.mark.parametrize("hops", [2, 64, 255])
def test_a_frame_is_unchanged_but_for_its_hop_limit_and_checksum(
    world: World, version: int, hops: int
) -> None:
    given = uncut(version, DATA, hops=hops)
    frames(world, [given, given], 1.0)
    (sent,) = world.raw.frames.sent
    expected = bytearray(given)
    expected[offload.HEADER + TTL_AT[version]] -= 1
    if version == 4:
        at = offload.HEADER + 10
        again = IP(bytes(expected[offload.HEADER :]))
        del again.chksum
        expected[at : at + 2] = bytes(again)[10:12]
    assert sent == expected


def test_every_checksum_of_a_header_is_right(tmp_path: Path) -> None:
    """Both before and after the hop is counted, over the values of two fields."""
    world = opened(direct_world(tmp_path), 4)
    for tos in range(0, 256, 3):
        for identification in (0, 0x5A5A, 0xB8FF, 0xB900, 0xFFFF):
            packet = bytearray(uncut(4, b"x" * 1001))
            packet[offload.HEADER + 1] = tos
            at = offload.HEADER + 4
            packet[at : at + 2] = identification.to_bytes(2, "big")
            fill_in_v4_checksum(packet, offload.HEADER, offload.HEADER + 20)
            frames(world, [bytes(packet)], 1.0)
            if world.raw.frames.sent:
                assert _header_sum(world.raw.frames.sent.pop()) == 0xFFFF


def _header_sum(frame: bytes) -> int:
    """The sum of an IPv4 header with its checksum (RFC 1071): 0xFFFF if it is right."""
    header = frame[offload.HEADER : offload.HEADER + 20]
    total = sum(int.from_bytes(header[at : at + 2], "big") for at in range(0, 20, 2))
    return (total & 0xFFFF) + (total >> 16)


@BOTH
def test_a_hop_limit_that_is_used_up(world: World, version: int) -> None:
    answers = frames(world, [uncut(version, b"x" * 1001, hops=1)])
    assert error_in(answers[:1]) == HOP_LIMIT[version]
    assert left(world) == []


@BOTH
def test_segments_are_counted(world: World, version: int) -> None:
    (tally,) = [each for each in world.forwarder.tallies if each.packets_out]
    before = tally.packets_out, tally.bytes_out
    given = uncut(version, DATA)
    frames(world, [given, given])
    assert tally.packets_out - before[0] == 6
    headers = len(given) - offload.HEADER - len(DATA)
    assert tally.bytes_out - before[1] == 2 * (len(DATA) + 3 * headers)


# The host's firewall


@BOTH
def test_what_the_hosts_firewall_refuses_is_dropped_until_it_is_let_through(
    world: World, version: int
) -> None:
    given = uncut(version, DATA)
    frames(world, [given, given])
    world.raw.sent.clear()
    world.raw.frames.sent.clear()
    refuse(world, errno.EPERM, version)
    assert error_in(frames(world, [given], LATER)) == PROHIBITED[version]
    assert frames(world, [given, given], LATER + SAMPLE_INTERVAL / 2) == []
    assert world.raw.frames.sent == left(world) == []
    assert world.drops == {"refused-by-host": 3}
    now = LATER + SAMPLE_INTERVAL
    assert frames(world, [given, given], now) == []
    assert payloads(world) == DATA
    assert len(world.raw.frames.sent) == 1


@BOTH
def test_a_rule_is_obeyed_within_a_quarter_of_a_second(world: World, version: int) -> None:
    given = uncut(version, DATA)
    frames(world, [given, given])
    world.raw.sent.clear()
    world.raw.frames.sent.clear()
    refuse(world, errno.EPERM, version)
    assert error_in(frames(world, [given], 1.0 + QUARTER)) == PROHIBITED[version]
    assert frames(world, [given], 1.0 + QUARTER) == []
    assert world.raw.frames.sent == left(world) == []


@BOTH
def test_another_connection_is_not_dropped(world: World, version: int) -> None:
    mine, other = uncut(version, DATA), uncut(version, DATA, sport=4001)
    frames(world, [mine, other])
    refuse(world, errno.EPERM, version)
    frames(world, [mine], LATER)
    frames(world, [other, other], LATER)
    assert len(world.raw.frames.sent) == 1


@BOTH
@pytest.mark.parametrize("code", [errno.EAGAIN, errno.ENETUNREACH])
def test_what_the_firewall_has_not_judged_is_no_sample(
    world: World, version: int, code: int
) -> None:
    """A raw socket without room fails before the firewall."""
    given = uncut(version, DATA)
    refuse(world, code, version)
    frames(world, [given])
    assert left(world) == []
    frames(world, [given])
    assert world.raw.frames.sent == []
    assert payloads(world) == DATA


@BOTH
def test_what_was_refused_stays_so_while_nothing_is_judged(world: World, version: int) -> None:
    given = uncut(version, DATA)
    refuse(world, errno.EPERM, version)
    frames(world, [given])
    refuse(world, errno.EAGAIN, version)
    frames(world, [given, given], LATER)
    assert world.raw.frames.sent == []


# Frames that cannot leave whole


@BOTH
def test_segments_that_are_longer_than_the_mtu(tmp_path: Path, version: int) -> None:
    world = opened(direct_world(tmp_path, mtu=1300), version)
    given = uncut(version, DATA, segment_size=1400)
    frames(world, [uncut(version, DATA)])
    world.raw.sent.clear()
    refuse(world, errno.EMSGSIZE, version)
    answers = frames(world, [given])
    assert error_in(answers) == TOO_BIG[version]
    assert value_in(answers[0]) == 1300
    assert world.raw.frames.sent == left(world) == []
    assert world.drops == {"too-big": 1}


@BOTH
def test_a_next_hop_that_is_not_resolved(world: World, version: int) -> None:
    given = uncut(version, DATA)
    frames(world, [given])
    world.raw.sent.clear()
    world.raw.frames.resolved = False
    assert frames(world, [given], SOON) == []
    assert payloads(world) == DATA
    assert {data[TTL_AT[version]] for data in left(world)} == {63}
    if version == 4:
        assert {IP(data).chksum for data in left(world)}


@BOTH
def test_no_packet_socket(tmp_path: Path, version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    world = direct_world(tmp_path)
    monkeypatch.setattr(world.raw, "frame_socket", lambda *parts: parts[-1](None))
    opened(world, version)
    for now in (1.0, SOON, LATER):
        world.raw.sent.clear()
        frames(world, [uncut(version, DATA)], now)
        assert payloads(world) == DATA


@BOTH
def test_a_packet_socket_that_fails(
    world: World, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program is told about what it has sent, with its own hop limit."""
    given = uncut(version, DATA)
    frames(world, [given])
    world.raw.sent.clear()

    def fail(*_: object) -> bool:
        raise OSError(errno.ENETDOWN, "")

    monkeypatch.setattr(world.raw.frames, "send", fail)
    (answer,) = frames(world, [given], SOON)
    quoted = answer[28 if version == 4 else 48 :]
    assert quoted[TTL_AT[version]] == 64
    assert left(world) == []
    if version == 4:
        assert decoded(bytes(quoted)[:20])


@BOTH
def test_the_connections_of_a_flow_have_a_limit(
    world: World, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_CONNECTIONS", 3)
    for port in range(4000, 4010):
        frames(world, [uncut(version, DATA, sport=port)])
    (known,) = world.direct.path._flows.values()
    assert len(known.samples) <= 3
    assert set(world.raw.by_source) == {ETH0[version]}
