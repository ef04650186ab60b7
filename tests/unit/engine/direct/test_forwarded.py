"""Flows that the system forwards: which they are, from when on, and that all of it is counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.engine.direct import forwarded as module
from router.engine.direct.forwarded import IDLE, LOOK_AFTER, SLOW_AGAIN_AFTER, SLOW_FOR
from router.engine.direct.path import LONG
from router.engine.direct.sent import LOOK_INTERVAL
from router.engine.observer.observer import Observer
from router.engine.observer.trace import Trace
from router.engine.reading import SHORT_TURNS
from router.flows.trace.matching import Filter
from router.flows.trace.words import parse
from router.platform.base.flow_offload import Forwarding, Passed
from router.wire import ip, offload
from tests.unit.engine.direct.cases import (
    HOME,
    datagram,
    frames,
    header,
    left,
    machine,
    of_protocol,
    reload,
    segment,
    uncut,
    unsummed,
)
from tests.unit.engine.offload import MemoryOffload
from tests.unit.engine.world import RULES, World, far
from tests.unit.wire.packets import ICMP, IP, UDP, ICMPv6EchoRequest, IPv6

HOP = bytes([192, 0, 2, 1])
MUCH = 2 * LOOK_AFTER


class Bed:
    """A world whose system forwards flows, and in which nothing has left yet."""

    def __init__(self, directory: Path, version: int, rules: str = RULES) -> None:
        self.directory, self.version = directory, version
        self.offload = MemoryOffload(most=3)
        self.world = World(directory, rules, local=machine(), flow_offload=self.offload)
        self.world.raw.frames.hop = HOP
        self.forwarded = self.world.direct.path.forwarded

    def send(self, frame: bytes, count: int = MUCH, now: float = 1.0) -> None:
        """The same again and again; the first is decided on."""
        frames(self.world, [frame] * count, now)

    def begin(self) -> None:
        """A flow is forwarded."""
        self.send(self.segment(), MUCH + 1)
        self.offload.reply()
        self.send(self.segment(), 1)
        assert self.offload.opened == {0: 1}

    def forward(self, protocol: str) -> None:
        """Datagrams or queries are forwarded."""
        if protocol == "udp":
            for _ in range(MUCH + 1):
                self.send(unsummed(datagram(self.version)), 1)
        else:
            for turn in range(MUCH + 1):
                self.send(query(self.version, turn), 2, now=1.0 + 2 * turn * LOOK_INTERVAL)
        assert len(self.flows) == 1

    def segment(self, sport: int = 4000) -> bytes:
        return unsummed(segment(self.version, sport=sport, payload=b"some"))

    @property
    def flows(self) -> list[Forwarding]:
        return [part for (part,) in self.offload.flows.values() if isinstance(part, Forwarding)]

    @property
    def packets_out(self) -> int:
        return sum(tally.packets_out for tally in self.world.forwarder.tallies)


@pytest.fixture(params=[4, 6])
def bed(request: pytest.FixtureRequest, tmp_path: Path) -> Bed:
    return Bed(tmp_path, request.param)


def ends_of(packet: bytes) -> bytes:
    """Addresses and ports."""
    return packet[12:24] if packet[0] >> 4 == 4 else packet[8:44]


def query(version: int, sequence: int = 1, kind: int = 8) -> bytes:
    of = ICMP(type=kind, id=77, seq=sequence) if version == 4 else ICMPv6EchoRequest(id=77)
    return offload.NOTHING_LEFT + bytes(header(version) / of / b"some")


def test_a_connection_that_moves_much_is_forwarded(bed: Bed) -> None:
    bed.send(bed.segment(), MUCH)
    assert bed.flows == [], "the first is decided on, and not counted"
    bed.send(bed.segment(), 1)
    wanted = Forwarding(ip.TCP, ends_of(segment(bed.version)), 2, HOP, 1500)
    assert bed.flows == [wanted]


def test_frames_that_are_yet_to_be_cut_count_for_more(bed: Bed) -> None:
    bed.send(uncut(bed.version, bytes(5000)), 2 * -(-LOOK_AFTER // LONG) + 1)
    assert [each.protocol for each in bed.flows] == [ip.TCP]


def test_datagrams_that_come_one_by_one(bed: Bed) -> None:
    bed.forward("udp")
    ends = ends_of(datagram(bed.version))
    assert bed.flows == [Forwarding(ip.UDP, ends, 2, HOP, 1500)]


def test_datagrams_that_leave_in_runs_are_not(bed: Bed) -> None:
    packet = unsummed(datagram(bed.version))
    bed.send(packet, 3 * MUCH)
    for _ in range(5):
        for _ in range(LOOK_AFTER - SHORT_TURNS - 2):
            bed.send(packet, 1)
        bed.send(packet, SHORT_TURNS + 3)
    assert bed.flows == [], "now and then there are several in a turn"


def test_queries_that_follow_each_other(bed: Bed) -> None:
    for turn in range(MUCH + 1):
        bed.send(query(bed.version, turn), 2, now=1.0 + 2 * turn * LOOK_INTERVAL)
    packet = query(bed.version)[offload.HEADER :]
    upper = 20 if bed.version == 4 else 40
    addresses = packet[12:20] if bed.version == 4 else packet[8:40]
    (found,) = bed.flows
    assert found.protocol == (ip.ICMP if bed.version == 4 else ip.ICMPV6)
    assert found.ends == addresses + packet[upper : upper + 2] + (77).to_bytes(2, "big")


def test_short_connections_are_not(bed: Bed) -> None:
    for port in range(4000, 4000 + MUCH):
        bed.send(bed.segment(sport=port), 10)
    assert bed.flows == []


@pytest.mark.parametrize("kind", ["options", "fragment", "timestamp", "gre"])
def test_what_the_system_would_not_find_is_not(tmp_path: Path, kind: str) -> None:
    bed = Bed(tmp_path, 4)
    datagrams = header(4) / UDP(sport=4000, dport=53) / bytes(64)
    packet = {
        "options": bytes(IP(dst=datagrams.dst, src=datagrams.src, options=b"\1\1\1\1") / UDP()),
        "fragment": bytes(IP(src=datagrams.src, dst=datagrams.dst, flags="MF") / UDP() / bytes(64)),
        "timestamp": query(4, kind=13)[offload.HEADER :],
        "gre": bytes(of_protocol(4, 47) / bytes(64)),
    }[kind]
    for turn in range(MUCH + 9):
        bed.send(offload.NOTHING_LEFT + packet, 2, now=1.0 + 2 * turn * LOOK_INTERVAL)
    assert len(left(bed.world)) > MUCH
    assert bed.flows == []


def test_extension_headers_are_not(tmp_path: Path) -> None:
    bed = Bed(tmp_path, 6)
    packet = of_protocol(6, 60) / bytes([17, 0, 1, 4, 0, 0, 0, 0]) / UDP(sport=4000, dport=53)
    assert isinstance(packet, IPv6)
    for turn in range(MUCH + 9):
        bed.send(offload.NOTHING_LEFT + bytes(packet), 2, now=1.0 + 2 * turn * LOOK_INTERVAL)
    assert bed.flows == []


def test_nothing_is_where_the_host_may_refuse_it(bed: Bed) -> None:
    bed.world.refuses = True
    bed.send(bed.segment(), 2 * MUCH)
    assert bed.flows == []
    bed.world.refuses = False
    bed.send(bed.segment(), LOOK_AFTER)
    assert len(bed.flows) == 1


def test_the_host_is_told_as_long_as_any_is(bed: Bed) -> None:
    for port in (4000, 4001):
        bed.send(bed.segment(sport=port), MUCH + 1)
    assert bed.world.forwarding == [True]
    bed.world.direct.forget()
    assert bed.world.forwarding == [True, False]


def test_nothing_is_without_a_next_hop(bed: Bed) -> None:
    bed.world.raw.frames.hop = None
    bed.send(bed.segment(), 2 * MUCH)
    assert bed.flows == []


def test_nothing_is_where_frames_cannot_be_sent(bed: Bed) -> None:
    bed.world.raw.has_frames = False
    bed.send(bed.segment(), 2 * MUCH)
    assert bed.flows == []


def test_it_begins_when_nothing_can_be_overtaken(bed: Bed) -> None:
    bed.send(bed.segment(), MUCH + 1)
    assert bed.offload.opened == {0: None}
    bed.offload.reply()
    assert bed.offload.opened == {0: None}, "the TUN may have more"
    bed.offload.packets_left = 4
    bed.send(bed.segment(), 1)
    assert bed.offload.opened == {0: 4}


def test_nothing_is_forwarded_while_the_tun_is_never_empty(bed: Bed) -> None:
    bed.send(bed.segment(), MUCH + 1)
    bed.offload.reply()
    bed.world.tun.incoming = [bed.segment()] * (9 * MUCH)
    for _ in range(8 * MUCH // 16):
        bed.world.reader.turn(16, 1.0)
        assert bed.world.tun.incoming
    assert bed.offload.opened == {0: None}


def test_senders_of_datagrams_are_slowed_down_until_it_begins(bed: Bed) -> None:
    bed.forward("udp")
    assert bed.offload.slowed == {0: 1.0 + SLOW_FOR}
    bed.offload.reply()
    bed.send(unsummed(datagram(bed.version)), 1)
    assert bed.offload.opened == {0: 1}
    assert bed.offload.slowed == {}


def test_they_are_slowed_down_again_while_the_tun_is_never_empty(bed: Bed) -> None:
    bed.forward("udp")
    bed.offload.reply()
    sizes = [unsummed(datagram(bed.version, size)) for size in (8, 9)]
    bed.world.tun.incoming = sizes * (8 * MUCH)
    for now in (1.0 + SLOW_FOR, 1.0 + SLOW_AGAIN_AFTER):
        before = dict(bed.offload.slowed)
        for _ in range(MUCH // 16 + 1):
            bed.world.reader.turn(16, now)
            assert bed.world.tun.incoming
        is_due = now >= 1.0 + SLOW_AGAIN_AFTER
        assert bed.offload.slowed == ({0: now + SLOW_FOR} if is_due else before)
    assert bed.offload.opened == {0: None}


def test_senders_of_others_are_not_slowed_down(bed: Bed) -> None:
    bed.send(bed.segment(), MUCH + 1)
    bed.offload.reply()
    bed.world.tun.incoming = [bed.segment()] * (9 * MUCH)
    for _ in range(8 * MUCH // 16):
        bed.world.reader.turn(16, 1.0 + SLOW_AGAIN_AFTER)
    assert bed.world.tun.incoming
    assert bed.offload.slowed == {}


def test_nothing_is_overtaken_that_comes_while_the_tun_is_found_empty(bed: Bed) -> None:
    """What comes between two looks is known to be left, and not to be sent."""
    bed.send(bed.segment(), MUCH + 1)
    bed.offload.reply()
    offload, tun = bed.offload, bed.world.tun
    noted = offload.left

    def one_more(number: int) -> int:
        tun.incoming.append(bed.segment())
        offload.packets_left += 1
        return noted(number)

    offload.left = one_more  # type: ignore[method-assign]
    bed.send(bed.segment(), 1)
    assert tun.incoming == []
    assert offload.opened == {0: None}
    offload.left = noted  # type: ignore[method-assign]
    bed.send(bed.segment(), 1)
    assert offload.opened == {0: 2}


def test_what_is_kept_to_leave_with_others_is_not_overtaken(bed: Bed) -> None:
    """Datagrams of which a frame is made at the end of the turn."""
    packet = unsummed(datagram(bed.version))
    bed.forward("udp")
    bed.offload.reply()
    tally = next(each for each in bed.world.forwarder.tallies if each.packets_out)
    opened: list[int] = []

    def note(number: int, left: int) -> None:
        opened.append(tally.packets_out)

    bed.offload.open = note  # type: ignore[method-assign]
    before = tally.packets_out
    bed.send(packet, 3)
    assert opened == [before + 3]


def test_it_goes_on_after_packets_that_are_left_to_the_router(bed: Bed) -> None:
    bed.begin()
    bed.offload.packets_left = 9
    bed.send(bed.segment(), LOOK_AFTER)
    assert bed.offload.opened == {0: 9}


def test_it_is_asked_for_once(bed: Bed) -> None:
    bed.send(bed.segment(), 5 * MUCH)
    assert len(bed.flows) == 1


def test_what_passes_is_counted(bed: Bed) -> None:
    bed.begin()
    before = bed.packets_out
    bed.offload.counts = [Passed(0.0, 10, 9000), Passed(0.0, 0, 0)]
    assert bed.packets_out == before + 10
    assert bed.packets_out == before + 10, "once"
    bed.offload.counts = [Passed(0.0, 15, 9900), Passed(0.0, 0, 0)]
    bed.world.direct.forget()
    assert bed.offload.flows == {}
    assert bed.packets_out == before + 15


def test_a_reload_ends_it(bed: Bed) -> None:
    bed.begin()
    reload(bed.world, bed.directory, RULES)
    assert bed.offload.flows == {}
    bed.send(bed.segment(), MUCH + 1)
    assert len(bed.flows) == 1, "if the rules still say so"


def test_what_an_observer_wants_is_not(bed: Bed) -> None:
    seen: list[bytes] = []

    def is_wanted(frame: bytearray, size: int) -> bool:
        seen.append(bytes(frame[:size]))
        return wanted

    bed.begin()
    wanted = True
    bed.forwarded.observe(is_wanted)
    assert bed.offload.flows == {}
    bed.send(bed.segment(), 2 * MUCH)
    assert bed.offload.flows == {}
    first, *others = seen
    assert ends_of(first[offload.HEADER :]) == ends_of(segment(bed.version))
    assert {len(each) for each in others} == {len(bed.segment())}
    wanted = False
    bed.send(bed.segment(), MUCH)
    assert len(bed.flows) == 1
    bed.forwarded.observe(None)
    bed.send(bed.segment(), MUCH)
    assert len(bed.flows) == 1


@pytest.mark.parametrize(
    ("words", "is_forwarded"),
    [
        ("host PEER", False),
        ("tcp", False),
        ("policy home", False),
        ("port 81", True),
        ("policy office", True),
        ("dropped", True),
    ],
)
def test_it_goes_on_where_no_trace_wants_it(bed: Bed, words: str, *, is_forwarded: bool) -> None:
    observer = Observer(bed.world.forwarder, bed.world.writer)
    bed.begin()
    trace = Trace(Filter(parse(words.replace("PEER", far(bed.version, HOME)))), lambda: None)
    observer.add(trace)
    assert len(bed.flows) == is_forwarded, "at once"
    bed.send(bed.segment(), 2 * MUCH)
    assert len(bed.flows) == is_forwarded
    observer.remove(trace)
    assert len(bed.flows) == is_forwarded
    bed.send(bed.segment(), 2 * MUCH)
    assert len(bed.flows) == 1


@pytest.mark.parametrize("words", ["icmp", "host PEER", "policy home", "udp"])
@pytest.mark.parametrize("protocol", ["udp", "icmp"])
def test_a_trace_wants_queries_and_datagrams(bed: Bed, protocol: str, words: str) -> None:
    observer = Observer(bed.world.forwarder, bed.world.writer)
    bed.forward(protocol)
    trace = Trace(Filter(parse(words.replace("PEER", far(bed.version, HOME)))), lambda: None)
    observer.add(trace)
    is_forwarded = words in ("icmp", "udp") and words != protocol
    assert len(bed.flows) == is_forwarded
    observer.remove(trace)


def test_an_idle_one_makes_room(bed: Bed) -> None:
    bed.begin()
    bed.offload.counts = [Passed(0.0, 1, 60), Passed(0.0, 0, 0)]
    bed.forwarded.expire(5.0)
    bed.forwarded.expire(5.0 + IDLE)
    assert len(bed.flows) == 1
    bed.forwarded.expire(5.1 + IDLE)
    assert bed.flows == []


def test_as_many_as_the_system_takes(bed: Bed) -> None:
    for port in range(4000, 4004):
        bed.send(bed.segment(sport=port), MUCH + 1)
    assert len(bed.flows) == 3


def test_few_are_remembered(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_MET", 1)
    for port in (4000, 4001, 4000, 4001, 4001):
        bed.send(bed.segment(sport=port), LOOK_AFTER)
    assert [each.ends for each in bed.flows] == [ends_of(segment(bed.version, sport=4001))]


@pytest.mark.parametrize("protocol", ["udp", "icmp"])
def test_what_has_no_connection_is_still_known_to_be_sent(bed: Bed, protocol: str) -> None:
    bed.forward(protocol)
    bed.offload.counts = [Passed(0.0, 1, 60), Passed(0.0, 0, 0)]
    bed.forwarded.expire(50.0)
    (flow,) = bed.world.direct.sent.live(50.0)
    assert flow.last == 50.0
    assert flow.first == 1.0


def test_all_is_counted_at_the_end(bed: Bed) -> None:
    bed.begin()
    before = bed.packets_out
    bed.offload.counts = [Passed(0.0, 10, 9000), Passed(0.0, 0, 0)]
    bed.forwarded.close()
    assert bed.offload.flows == {}
    assert bed.packets_out == before + 10
