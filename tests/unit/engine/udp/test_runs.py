"""Datagrams of one flow that arrive one after the other are moved together, and nothing else
changes: the same datagrams leave, in the same order, with the same fields."""

from __future__ import annotations

import errno
from pathlib import Path
from random import Random

import pytest

from router.platform.base.sockets import NetworkError
from router.wire import offload
from router.wire.fragments import split
from tests.unit.engine.udp.cases import (
    HOME,
    HOME2,
    LOCAL_HOST,
    PORT_UNREACHABLE,
    TIME_EXCEEDED,
    TOO_BIG,
    datagram,
    endpoint,
    error_in,
    only_socket,
    reported,
    to,
)
from tests.unit.engine.udp.memory import MemoryUdpSocket, received, run
from tests.unit.engine.world import World, far
from tests.unit.wire.packets import UDP, decoded

BOTH = pytest.mark.parametrize("version", [4, 6])


def started(world: World, version: int) -> MemoryUdpSocket:
    """A flow that has sent its first datagram."""
    world.send(datagram(version))
    sock = only_socket(world)
    sock.sent.clear()
    sock.runs.clear()
    return sock


# Out


@BOTH
def test_datagrams_of_one_flow_and_size_leave_together(world: World, version: int) -> None:
    sock = started(world, version)
    payloads = [bytes((number,)) * 64 for number in range(20)]
    assert world.send_together([datagram(version, payload=one) for one in payloads]) == []
    assert sock.runs == [20]
    assert [sent.payload for sent in sock.sent] == payloads
    assert {sent.address for sent in sock.sent} == {(far(version, HOME), 7)}
    assert {(sent.hop_limit, sent.dont_fragment) for sent in sock.sent} == {(63, True)}


@BOTH
@pytest.mark.parametrize(
    "other",
    [
        {"payload": b"longer than the others"},
        {"payload": b""},
        {"hop_limit": 63},
        {"traffic_class": 8},
        {"dport": 8},
        {"host": HOME2},
        {"sport": 4002},
    ],
)
def test_a_differing_datagram_ends_a_run(
    world: World, version: int, other: dict[str, object]
) -> None:
    sock = started(world, version)
    differing = datagram(version, **other)  # type: ignore[arg-type]
    world.send(differing)
    for each in world.udp.sockets:
        each.sent.clear()
        each.runs.clear()
    usual = datagram(version)
    world.send_together([usual, usual, differing, usual, usual])
    if "sport" in other:
        assert [each.runs for each in world.udp.sockets] == [[2, 2], [1]]
    else:
        assert sock.runs == [2, 1, 2]
    first, last = sock.sent[0], sock.sent[-1]
    assert first == last
    assert world.drops == {}


@BOTH
@pytest.mark.parametrize(("size", "most"), [(64, 64), (1400, 46), (1472 - 20, 44)])
def test_a_run_is_bounded(world: World, version: int, size: int, most: int) -> None:
    sock = started(world, version)
    world.send_together([datagram(version, payload=bytes(size))] * 100)
    assert sum(sock.runs) == 100
    assert max(sock.runs) == most


@BOTH
def test_empty_datagrams_leave_one_by_one(world: World, version: int) -> None:
    sock = started(world, version)
    world.send_together([datagram(version, payload=b"")] * 5)
    assert sock.runs == [1] * 5


@BOTH
def test_the_order_is_kept_when_one_comes_in_fragments(world: World, version: int) -> None:
    sock = started(world, version)
    long = datagram(version, payload=bytes(3000), dont_fragment=False)
    before, after = datagram(version, payload=b"before"), datagram(version, payload=b"behind")
    world.send_together([before, *split(long, 1500, 9), after])
    assert [sent.payload for sent in sock.sent] == [b"before", bytes(3000), b"behind"]


@BOTH
def test_damage_and_hop_limits_are_seen_among_others(world: World, version: int) -> None:
    sock = started(world, version)
    good = datagram(version)
    damaged = good[:-1] + bytes((good[-1] ^ 1,))
    answers = world.send_together([good, damaged, datagram(version, hop_limit=1), good])
    assert error_in(answers)[1] == TIME_EXCEEDED[version]
    assert [sent.payload for sent in sock.sent] == [b"hello", b"hello"]
    assert world.drops == {"bad-checksum": 1, "hop-limit": 1}


@BOTH
def test_a_partial_checksum_is_not_wrong(world: World, version: int) -> None:
    """The datagram comes from the local kernel, so it cannot be damaged yet."""
    sock = started(world, version)
    packet = bytearray(datagram(version))
    start = 20 if version == 4 else 40
    packet[start + 6 : start + 8] = b"\x12\x34"
    header = offload.FIELDS.pack(offload.NEEDS_CHECKSUM, 0, 0, 0, start, 6)
    world.send_together([])
    world.tun.frame[: offload.HEADER + len(packet)] = header + packet
    datagrams = world.carriers.datagrams
    assert datagrams.carry_frame(world.tun.frame, offload.HEADER + len(packet), 1.0)
    datagrams.flush(1.0)
    assert [sent.payload for sent in sock.sent] == [b"hello"]


@BOTH
def test_a_pending_error_loses_no_datagram_of_a_run(world: World, version: int) -> None:
    sock = started(world, version)
    sock.raises = [OSError(errno.ECONNREFUSED, "")]
    sock.queue = [reported(version, PORT_UNREACHABLE[version], far(version, HOME))]
    payloads = [b"one", b"two", b"tre"]
    answers = world.send_together([datagram(version, payload=one) for one in payloads])
    assert error_in(answers)[1] == PORT_UNREACHABLE[version]
    assert [sent.payload for sent in sock.sent] == payloads


@BOTH
def test_each_datagram_of_a_run_that_is_too_long_is_reported(world: World, version: int) -> None:
    sock = started(world, version)
    sock.raises = [OSError(errno.EMSGSIZE, "") for _ in range(4)]
    for _ in range(3):
        sock.queue.append(NetworkError(None, 0, 0, 1300, *to(version), b"", 0, 0))
    answers = world.send_together([datagram(version, payload=bytes(1400))] * 3)
    assert [error_in([answer])[1] for answer in answers] == [TOO_BIG[version]] * 3
    assert world.drops == {"too-big": 3}


@BOTH
def test_a_full_buffer_counts_each(world: World, version: int) -> None:
    sock = started(world, version)
    sock.raises = [BlockingIOError()]
    assert world.send_together([datagram(version)] * 5) == []
    assert world.drops == {"no-buffer": 5}


@BOTH
@pytest.mark.parametrize("seed", range(5))
def test_runs_are_equivalent_to_single_datagrams(tmp_path: Path, version: int, seed: int) -> None:
    """Random datagrams of a few flows, sizes and fields, against a world that sends each alone."""
    random = Random(seed)
    packets = [
        datagram(
            version,
            random.choice([HOME, HOME2]),
            random.randbytes(random.choice([0, 10, 10, 10, 600])),
            sport=random.choice([4000, 4001]),
            dport=random.choice([7, 7, 8]),
            hop_limit=random.choice([64, 64, 64, 2, 1]),
            source=random.choice([None, LOCAL_HOST[version]]),
            traffic_class=random.choice([0, 0, 0, 32]),
        )
        for _ in range(400)
    ]
    together, alone = World(tmp_path), World(tmp_path)
    at = 0
    while at < len(packets):
        size = random.randint(1, 40)
        together.send_together(packets[at : at + size])
        at += size
    for packet in packets:
        alone.send(packet)
    pairs = zip(together.udp.sockets, alone.udp.sockets, strict=True)
    assert all(left.sent == right.sent for left, right in pairs)
    assert together.drops == alone.drops


# In


@BOTH
def test_answers_that_arrive_together_are_delivered_together(world: World, version: int) -> None:
    sock = started(world, version)
    payloads = [bytes((number,)) * 64 for number in range(9)] + [b"short"]
    sock.incoming = [run(payloads, endpoint(version), 60, 0x20)]
    assert world.receive(sock) == []
    (frame,) = world.tun.runs
    flags, kind, header, size, start, field = offload.FIELDS.unpack_from(frame)
    assert (flags, kind) == (offload.NEEDS_CHECKSUM, offload.SEGMENT_UDP)
    assert (header, size, start, field) == (start + 8, 64, 20 if version == 4 else 40, 6)
    (whole,) = offload.packets(bytearray(frame), len(frame))
    read = decoded(whole)
    assert (read.src, read[UDP].sport, read[UDP].dport) == (far(version, HOME), 7, 4000)
    assert (read.ttl, read.tos) == (59, 32) if version == 4 else (read.hlim, read.tc) == (59, 32)
    assert bytes(read[UDP].payload) == b"".join(payloads)


@BOTH
def test_a_long_run_is_delivered_in_parts(world: World, version: int) -> None:
    sock = started(world, version)
    sock.incoming = [run([bytes(1400)] * 64, endpoint(version))]
    assert world.receive(sock) == []
    assert len(world.tun.runs) == 2
    assert all(len(frame) <= 65535 + offload.HEADER for frame in world.tun.runs)
    assert sum(len(frame) for frame in world.tun.runs) > 64 * 1400


@BOTH
@pytest.mark.parametrize("payloads", [[b"", b""], [bytes(1473), bytes(1473)], [b"a", b""]])
def test_what_cannot_be_a_run_is_delivered_one_by_one(
    world: World, version: int, payloads: list[bytes]
) -> None:
    sock = started(world, version)
    sock.incoming = [run(payloads, endpoint(version))]
    assert len(world.receive(sock)) == (4 if payloads[0][1:] else 2)
    assert world.tun.runs == []


@BOTH
def test_without_offload_each_datagram_is_delivered_alone(world: World, version: int) -> None:
    world.tun.refuses_runs = True
    sock = started(world, version)
    for _ in range(2):
        sock.incoming = [run([b"one", b"two", b"3"], endpoint(version))]
        answers = [bytes(decoded(one)[UDP].payload) for one in world.receive(sock)]
        assert answers == [b"one", b"two", b"3"]


@BOTH
def test_a_run_from_an_unknown_host_is_filtered_whole(world: World, version: int) -> None:
    sock = started(world, version)
    sock.incoming = [
        run([b"one", b"two"], endpoint(version, HOME2)),
        received(b"late", endpoint(version), hop_limit=1),
    ]
    assert world.receive(sock) == []
    assert world.tun.runs == []
    assert world.drops == {"filtered": 2, "hop-limit": 1}
