"""UDP associations, with everything beneath in memory."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

import pytest

from router.config.model import Proxy
from router.flows.drops import Drop
from router.outbound.socks5.conversation import Conversation, Unreached
from router.outbound.socks5.datagrams import MOST_WAITING, Socks5Datagrams
from router.outbound.socks5.probing import PATIENCE
from router.outbound.udp import SocketDatagrams
from router.platform.base.descriptors import READABLE
from router.platform.base.sockets import NetworkError
from router.wire import ip
from router.wire.socks5 import Fault, Outcome, Reply, udp_header
from tests.unit.engine.udp.memory import MemoryUdpSocket, received
from tests.unit.outbound.memory_proxy import CHOSEN, Bed, MemoryDial

SERVER = bytes((192, 0, 2, 1))
OWN = bytes((192, 0, 2, 2))
RELAY = ("192.0.2.1", 4000)
FAR = ("198.51.100.7", 53)
HEADER = udp_header(bytes((198, 51, 100, 7)), 53)


class MemoryConversation:
    """See Conversation."""

    dial: MemoryDial | None = None

    def __init__(self) -> None:
        self.outcome: Outcome | Unreached | None = None
        self.greeted = False


class MemoryProxy:
    """See association.Proxy."""

    def __init__(self, at_once: Outcome | None = None) -> None:
        self.drops: Counter[Drop] = Counter()
        self.count = self._count
        self.offers_udp = True
        self.asked: list[MemoryConversation] = []
        self.closed: list[object] = []
        self.changed: Callable[[int], None] = lambda _: None
        self.reported = 0
        self.lost_sources: set[bytes] = set()
        self._at_once = at_once

    def _count(self, reason: Drop) -> None:
        self.drops[reason] += 1

    def ask(
        self, changed: Callable[[int], None], unanswered: Callable[[Conversation], None]
    ) -> Conversation:
        conversation = MemoryConversation()
        conversation.outcome = self._at_once
        self.asked.append(conversation)
        self.changed = changed
        return cast(Conversation, conversation)

    def ended(self, conversation: Conversation) -> None:
        self.closed.append(conversation)

    def has_no_udp(self) -> None:
        self.offers_udp = False

    def suspect(self) -> None:
        pass

    def has_lost_source(self, source: bytes) -> bool:
        return source in self.lost_sources

    def report(self, channel: object) -> None:
        self.reported += 1

    def answer(self, outcome: Outcome) -> None:
        self.asked[-1].outcome = outcome
        self.asked[-1].greeted = True
        self.changed(1)


def opened(proxy: MemoryProxy) -> tuple[Socks5Datagrams, MemoryUdpSocket]:
    sock = MemoryUdpSocket(7, bytes(4), "eth0", 5000)
    channel = SocketDatagrams(cast(Any, sock), 5000)
    return Socks5Datagrams(4, SERVER, OWN, channel, proxy), sock


def test_what_waits_leaves_once_the_proxy_has_answered() -> None:
    proxy = MemoryProxy()
    channel, sock = opened(proxy)
    channel.send(b"one", FAR)
    channel.send(b"two", FAR)
    assert not sock.sent
    proxy.answer(Reply(0, bytes(4), 4000))  # unspecified: the proxy's own address
    channel.send(b"three", FAR)
    assert [(one.payload, one.address) for one in sock.sent] == [
        (HEADER + text, RELAY) for text in (b"one", b"two", b"three")
    ]
    assert len(proxy.asked) == 1


def test_an_answer_that_comes_at_once_loses_nothing() -> None:
    channel, sock = opened(MemoryProxy(Reply(0, SERVER, 4000)))
    channel.send(b"one", FAR)
    assert [one.payload for one in sock.sent] == [HEADER + b"one"]


def test_only_whole_datagrams_of_the_relay_come_in() -> None:
    proxy = MemoryProxy(Reply(0, SERVER, 4000))
    channel, sock = opened(proxy)
    channel.send(b"one", FAR)
    sock.incoming += [
        received(HEADER + b"answer", RELAY),
        received(HEADER + b"elsewhere", ("192.0.2.1", 4001)),
        received(b"\0\0\x01" + HEADER[3:] + b"fragment", RELAY),
        received(HEADER[:9], RELAY),
        received(b"\0\0\0\x03\x01a\0\x35name", RELAY),
    ]
    (arrived,) = channel.receive()
    assert [bytes(payload) for payload in arrived.payloads] == [b"answer"]
    assert channel.endpoint(arrived.sender) == (bytes((198, 51, 100, 7)), 53)
    assert proxy.drops == {Drop.FILTERED: 1, Drop.FRAGMENT: 1, Drop.MALFORMED: 2}


@pytest.mark.parametrize("outcome", [Reply(7), Fault.ENDED])
def test_a_refusal_is_reported_for_each_that_waits(outcome: Outcome) -> None:
    proxy = MemoryProxy()
    channel, _ = opened(proxy)
    channel.send(b"one", FAR)
    channel.send(b"two", FAR)
    proxy.answer(outcome)
    assert proxy.reported == 1
    with pytest.raises(OSError):
        channel.receive()
    errors = list(channel.errors())
    assert [(each.kind, each.code, each.payload) for each in errors] == [
        (3, 13, b"one"),
        (3, 13, b"two"),
    ]
    with pytest.raises(OSError) as caught:
        channel.send(b"three", FAR)
    assert caught.value.errno == errno.EACCES
    assert len(proxy.asked) == 1


def test_an_association_lasts_as_long_as_its_connection() -> None:
    """What the proxy says on that means nothing."""
    proxy = MemoryProxy(Reply(0, SERVER, 4000))
    channel, sock = opened(proxy)
    channel.send(b"one", FAR)
    (first,) = proxy.asked
    first.dial = carrier = MemoryDial(SERVER, lambda _: None)
    carrier.sock.incoming += b"whatever"
    proxy.changed(READABLE)
    assert proxy.closed == []
    carrier.sock.ended = True
    proxy.changed(READABLE)
    assert proxy.closed == [first]
    channel.send(b"two", FAR)
    assert len(proxy.asked) == 2
    assert [one.payload for one in sock.sent] == [HEADER + b"one", HEADER + b"two"]


def test_a_connection_lasts_as_long_as_its_association() -> None:
    proxy = MemoryProxy(Reply(0, SERVER, 4000))
    channel, _ = opened(proxy)
    channel.send(b"one", FAR)
    assert proxy.closed == []
    channel.close()
    assert proxy.closed == proxy.asked


@pytest.mark.parametrize("says", [b"", CHOSEN], ids=["nothing", "a greeting"])
def test_a_proxy_that_does_not_answer_is_asked_again(bed: Bed, says: bytes) -> None:
    """Its machine may be gone, which no packet reports; one socket may send for days."""
    sock = MemoryUdpSocket(7, bytes(4), "eth0", 5000)
    channel = SocketDatagrams(cast(Any, sock), 5000)
    datagrams = Socks5Datagrams(4, SERVER, OWN, channel, bed.outbound)
    datagrams.send(b"one", FAR)
    (first,) = bed.way.dials
    first.accept()
    first.say(says)
    bed.loop.wait(PATIENCE)
    assert first.is_abandoned
    assert bed.descriptors.free == bed.free
    datagrams.send(b"two", FAR)
    again = bed.way.dials[-1]
    again.accept()
    again.say(CHOSEN)
    again.say(b"\x05\x00\x00\x01" + SERVER + (4000).to_bytes(2, "big"))
    bed.loop.wait(PATIENCE)
    assert not again.is_abandoned
    assert [(each.payload, each.address) for each in sock.sent] == [(HEADER + b"two", RELAY)]


def test_it_is_lost_with_its_own_address() -> None:
    proxy = MemoryProxy()
    channel, _ = opened(proxy)
    proxy.lost_sources = {bytes((192, 0, 2, 3))}
    assert not channel.is_lost
    proxy.lost_sources = {OWN}
    assert channel.is_lost


def test_where_udp_is_to_be_rejected_nothing_is_asked() -> None:
    bed = Bed(Proxy("192.0.2.1", 1080, udp=False))
    channel = SocketDatagrams(cast(Any, MemoryUdpSocket(7, bytes(4), "eth0", 5000)), 5000)
    datagrams = Socks5Datagrams(4, SERVER, OWN, channel, bed.outbound)
    with pytest.raises(OSError) as caught:
        datagrams.send(b"one", FAR)
    assert caught.value.errno == errno.EACCES
    assert not bed.outbound.carries(4, ip.UDP)
    assert bed.outbound.carries(4, ip.TCP)
    assert bed.way.dials == []


@pytest.mark.parametrize(("version", "less"), [(4, 10), (6, 2)])
def test_the_mtu_that_is_told_is_less_by_the_header(version: int, less: int) -> None:
    """By 22 bytes for IPv6, whose own header is 20 longer than that of the way to the proxy."""
    sock = MemoryUdpSocket(7, bytes(4), "eth0", 5000)
    channel = SocketDatagrams(cast(Any, sock), 5000)
    datagrams = Socks5Datagrams(version, SERVER, OWN, channel, MemoryProxy(Reply(0, SERVER, 4000)))
    sock.queue.append(NetworkError(SERVER, 3, 4, 1400, SERVER, 4000, b"one", 64, 0))
    (error,) = datagrams.errors()
    assert (error.value, error.offender) == (1400 - less, None)


def test_a_bounded_number_waits() -> None:
    channel, _ = opened(MemoryProxy())
    for _ in range(MOST_WAITING):
        channel.send(b"x", FAR)
    with pytest.raises(BlockingIOError):
        channel.send(b"x", FAR)
