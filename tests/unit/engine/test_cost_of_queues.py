"""The cost of a packet at full queues and caches, as in test_cost: operations are counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import ip_address
from itertools import count
from pathlib import Path
from struct import pack
from typing import Any

import pytest

from router.control.follow import of_events
from router.engine import held_packets, transit
from router.engine.admissions import Admissions
from router.engine.direct import decisions, path
from router.engine.events import Events
from router.engine.held_packets import HeldPackets
from router.engine.observer import trace
from router.engine.observer.observer import Observer
from router.engine.observer.trace import Trace
from router.flows import policer
from router.flows.drops import Drops
from router.flows.expiry import NEVER, ExpiryQueue
from router.flows.policer import BACKLOG
from router.flows.trace.matching import Filter
from router.flows.trace.words import parse
from router.flows.waiting import WaitingPackets
from router.outbound.socks5 import datagrams
from router.platform.base.packet_filter import TrackedRequest
from router.wire import icmp, ip
from router.wire.icmp import Error, error
from router.wire.socks5 import Reply
from tests.unit.engine.cost import GROWTH, LITTLE, MUCH, lines_of
from tests.unit.engine.direct.cases import ETH0, direct_world
from tests.unit.engine.world import RULES, World, far
from tests.unit.outbound.test_socks5_datagrams import SERVER, MemoryProxy, opened
from tests.unit.wire.packets import INSIDE

Case = Callable[[int, Path, pytest.MonkeyPatch], Callable[[], object]]
NOW = 100.0
HOST = 9


def a_packet(source: int = 1) -> ip.Packet:
    return ip.parse(ip.build(source.to_bytes(4, "big"), b"\xc6\x33\x64\1", ip.UDP, bytes(8)))


def a_datagram(port: int, source: str = ETH0[4], host: int = HOST) -> bytes:
    """Without scapy, as are the queries: of thousands, it would take most of the time."""
    body = pack("!HHHH", 4000, port, 8, 0)
    return ip.build(ip_address(source).packed, ip_address(far(4, host)).packed, ip.UDP, body)


def a_query(identifier: int = 7) -> bytes:
    source, destination = ip_address(INSIDE[4]).packed, ip_address(far(4, HOST)).packed
    request = icmp.message(4, source, destination, pack("!BBHHH", 8, 0, 0, identifier, 1))
    return ip.build(source, destination, ip.ICMP, request)


def a_packet_that_waits(held: int, *_: Any) -> Callable[[], object]:
    """Behind all others; and the first of them goes on."""
    queue = WaitingPackets()
    for _number in range(held):
        assert queue.add(a_packet(), NOW)
    return lambda: (queue.add(a_packet(), NOW), queue.take(NOW))


def a_source_among_many(
    held: int, _: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], object]:
    """As many as are known, and held off, while the router is busy."""
    monkeypatch.setattr(policer, "MOST_SOURCES", held)
    monkeypatch.setattr(policer, "BURST", 0.5)
    admissions = Admissions(Drops())
    admissions.policer.not_emptied(NOW - 2 * BACKLOG)
    admissions.policer.not_emptied(NOW)
    for number in range(held):
        admissions.admit(a_packet(number), NOW)
    assert len(admissions.policer.held_off) == held
    return lambda: admissions.admit(a_packet(held), NOW)


def a_packet_that_is_held(
    held: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], object]:
    """Until an answer comes, which others wait for, too."""
    monkeypatch.setattr(held_packets, "MOST_KEYS", held + 1)
    monkeypatch.setattr(held_packets, "MOST_BYTES", 1024 * (held + 1))
    packets: HeldPackets[bool] = HeldPackets(World(tmp_path).timers, none=False)
    for number in range(held):
        assert packets.add(number, a_packet(), lambda *_: None)

    def hold() -> None:
        assert packets.add("new", a_packet(), lambda *_: None)
        packets.answer("new", True)

    return hold


def an_answer_of_a_lan_host(
    held: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], object]:
    """When as many are known as can be."""
    monkeypatch.setattr(transit, "MOST_ANSWERS", held)
    world = World(tmp_path)
    source, destination = bytes([10, 1, 0, 2]), bytes([203, 0, 113, 9])
    world.requests[source, destination] = TrackedRequest(is_translated=False)

    def answer(number: int) -> None:
        body = (53).to_bytes(2, "big") + number.to_bytes(2, "big") + b"\0\x08\0\0"
        world.send(ip.build(source, destination, ip.UDP, body), NOW)

    for number in range(held):
        answer(number)
    assert world.asked == held
    return lambda: answer(held)


def a_packet_that_leaves_directly(
    held: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], object]:
    """When as many are known as can be."""
    monkeypatch.setattr(path, "MOST", held)
    world = direct_world(tmp_path, RULES.replace("{cidr: [198", "{port: 1-65535, cidr: [198"))
    world.translates = True
    world.direct.forget()
    for port in range(1, held + 1):
        world.send_together([a_datagram(port)], NOW)
    return lambda: world.send_together([a_datagram(held + 1)], NOW)


def a_request_by_an_interface_with_an_obstacle(
    held: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], object]:
    """When as many pairs of addresses are known to be relayed as can be."""
    monkeypatch.setattr(decisions, "MOST_FORMER", held)
    world = direct_world(tmp_path)
    packet = a_packet()
    for number in range(held):
        packet.source = number.to_bytes(4, "big")
        world.direct._note_relayed(packet)
    packet.source = b"new1"
    return lambda: world.direct._note_relayed(packet)


def an_error_about_a_query(held: int, tmp_path: Path, *__: object) -> Callable[[], object]:
    world = World(tmp_path)
    for number in range(held):
        world.send(a_query(number), NOW)
    sent, _ = world.sent("home", 4)[0]
    about = error(b"\xc0\0\2\1", sent, Error.HOST_UNREACHABLE)
    return lambda: world.answer("home", about, NOW)


def an_error_about_nothing(held: int, tmp_path: Path, *_: object) -> Callable[[], object]:
    """From the inside."""
    world = World(tmp_path)
    for number in range(1, held + 1):
        world.send(a_datagram(number, INSIDE[4]), NOW)
    about = ip.parse(a_datagram(53, INSIDE[4], HOST + 1))
    return lambda: world.send(error(about.source, about, Error.PORT_UNREACHABLE), NOW)


def a_datagram_by_a_proxy(
    held: int, __: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], object]:
    """By an association that has sent to many hosts."""
    monkeypatch.setattr(datagrams, "MOST_HEADERS", held)
    channel, _ = opened(MemoryProxy(Reply(0, SERVER, 4000)))
    for port in range(held):
        channel.send(b"question", ("198.51.100.1", port))
    return lambda: channel.send(b"question", ("198.51.100.1", held))


def a_packet_that_is_traced(
    held: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], object]:
    """For a client that takes nothing."""
    monkeypatch.setattr(trace, "MOST_WAITING", held)
    monkeypatch.setattr(trace, "BURST", 2 * held)
    world = World(tmp_path)
    of = Trace(Filter(parse("")), lambda: None)
    Observer(world.forwarder, world.writer).add(of)
    ping = a_query()
    for _ in range(held + 1):
        world.send_together([ping], NOW)
    assert of.left_out
    return lambda: world.send_together([ping], NOW)


def an_event_for_a_follower(held: int, *_: object) -> Callable[[], object]:
    """Who takes nothing; with it come the flows, which are counted for everybody at once."""
    events = Events()
    feed = of_events(events, lambda: None)
    next(feed)
    for number in range(held):
        events.conflict(f"{number}")
    return lambda: events.conflict("one more")


@pytest.mark.parametrize(
    "case",
    [
        a_packet_that_waits,
        a_source_among_many,
        a_packet_that_is_held,
        an_answer_of_a_lan_host,
        a_packet_that_leaves_directly,
        a_request_by_an_interface_with_an_obstacle,
        an_error_about_a_query,
        an_error_about_nothing,
        a_datagram_by_a_proxy,
        a_packet_that_is_traced,
        an_event_for_a_follower,
    ],
)
def test_a_packet_costs_the_logarithm_of_what_is_held(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    little, much = (lines_of(case(held, tmp_path, monkeypatch)) for held in (LITTLE, MUCH))
    assert much <= little + GROWTH


class Item:
    due = NEVER

    def expires(self, _now: float) -> float:
        return 1000.0


def _leaving(held: int) -> Iterator[int]:
    """The lines of each operation while nearly all items of a queue leave, and others come."""
    queue: ExpiryQueue[Item] = ExpiryQueue()
    items = [Item() for _ in range(held)]
    for item in items:
        queue.schedule(item, NOW)
    for number, item in zip(count(), items[1:], strict=False):
        yield lines_of(lambda item=item: queue.cancel(item))  # type: ignore[misc]
        if number % 4 == 0:
            yield lines_of(lambda: queue.schedule(Item(), NOW))


def test_no_flow_that_ends_costs_more_than_others() -> None:
    little, much = (max(_leaving(held)) for held in (LITTLE, MUCH))
    assert much <= little + GROWTH
