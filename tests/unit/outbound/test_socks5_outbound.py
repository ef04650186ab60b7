"""Dials, conversations and probes of a proxy in memory: the test is the proxy and the clock."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.config.model import Proxy
from router.outbound.base import DialRequest
from router.outbound.descriptors import Descriptors
from router.outbound.socks5 import early, found
from router.outbound.socks5.conversation import Conversation, Unreached
from router.outbound.socks5.outbound import Socks5Outbound
from router.outbound.socks5.probing import LAST_DELAY, PATIENCE
from router.outbound.socks5.ready import KEPT, MOST
from router.outbound.socks5.tools import Tools
from router.outbound.socks5.way import ProxyWay
from router.platform.base.tcp import ConnectFailure
from router.platform.host_names import Resolved
from router.wire.socks5 import Command, Credentials, Dialogue, Fault, Reply, request
from tests.unit.examples import examples

ONE, TWO, FAR = bytes((192, 0, 2, 1)), bytes((192, 0, 2, 2)), bytes((198, 51, 100, 7))
CHOSEN, CONNECTED = b"\x05\x00", b"\x05\x00\x00\x01" + bytes(6)
REQUEST = DialRequest(FAR, 443, 63, 0, 4000)


class MemorySocket:
    """What the proxy sends comes in pieces; between them nothing is there to be read."""

    def __init__(self) -> None:
        self.sent = b""
        self.incoming = bytearray()
        self.ended = False

    def send(self, data: bytes) -> int:
        self.sent += data
        return len(data)

    def recv(self, size: int) -> bytes:
        if not self.incoming and not self.ended:
            raise BlockingIOError
        taken = bytes(self.incoming[:size])
        del self.incoming[:size]
        return taken


class MemoryDial:
    """See Dial."""

    source_port = 50000

    def __init__(self, address: bytes, changed: Callable[[int], None]) -> None:
        self.address = address
        self.changed = changed
        self.sock = MemorySocket()
        self.is_connected = False
        self.failure: ConnectFailure | None = None
        self.is_abandoned = False

    def release(self) -> MemorySocket:
        return self.sock

    def abandon(self) -> None:
        self.is_abandoned = True

    def accept(self) -> None:
        self.is_connected = True
        self.changed(1)

    def say(self, data: bytes) -> None:
        self.sock.incoming += data
        self.changed(1)

    def end(self) -> None:
        self.sock.ended = True
        self.changed(1)

    def fail(self, error: int) -> None:
        self.failure = ConnectFailure(error)
        self.changed(1)


class MemoryWay:
    """See ProxyWay. raises: an errno number, of each dial."""

    outbound = None

    def __init__(self) -> None:
        self.dials: list[MemoryDial] = []
        self.raises = 0

    def reaches(self, address: bytes) -> bool:
        return True

    def leaves_by(self, address: bytes) -> str:
        return "eth0"

    def dial(self, request: DialRequest, changed: Callable[[int], None]) -> MemoryDial:
        self.dials.append(MemoryDial(request.destination, changed))
        if self.raises:
            raise OSError(self.raises, "")
        return self.dials[-1]


class MemoryLoop:
    """Timers alone."""

    def __init__(self) -> None:
        self.now = 0.0
        self._timers: list[tuple[float, Callable[[], None]]] = []

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        self._timers.append((self.now + delay, callback))

    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        while due := sorted((at for at, _ in self._timers if at <= end)):
            self.now = due[0]
            (first,) = [each for each in self._timers if each[0] == due[0]][:1]
            self._timers.remove(first)
            first[1]()
        self.now = end


class MemoryNames:
    """See addresses.Names."""

    def __init__(self, *addresses: bytes) -> None:
        self.found = Resolved(addresses)

    def resolve(self, host: str, done: Callable[[Resolved], None]) -> None:
        done(self.found)


class Bed:
    """An outbound whose proxy the test is."""

    def __init__(self, proxy: Proxy, *addresses: bytes) -> None:
        self.way, self.loop, self.changes = MemoryWay(), MemoryLoop(), 0
        self.names = MemoryNames(*addresses)
        self.descriptors = Descriptors(1000)
        self.free = self.descriptors.free
        tools = Tools(
            *(cast(Any, self.loop), self.descriptors, lambda _: None, self._changed, self.names)
        )
        self.outbound = Socks5Outbound(proxy, cast(ProxyWay, self.way), tools)

    def _changed(self) -> None:
        self.changes += 1

    def dial(self) -> tuple[Any, MemoryDial]:
        """A connection of an application, and what carries it."""
        dial = self.outbound.dial(REQUEST, lambda _: None)
        return dial, self.way.dials[-1]


@pytest.fixture
def bed() -> Bed:
    return Bed(Proxy("192.0.2.1", 1080))


def test_it_is_connected_once_the_proxy_says_so(bed: Bed) -> None:
    dial, carrier = bed.dial()
    carrier.accept()
    assert carrier.sock.sent == b"\x05\x01\x00"
    carrier.say(CHOSEN)
    assert carrier.sock.sent[3:] == request(Command.CONNECT, FAR, 443)
    carrier.say(CONNECTED[:5])
    assert not dial.is_connected
    carrier.say(CONNECTED[5:] + b"220 server first")
    assert dial.is_connected
    assert dial.failure is None
    assert bytes(carrier.sock.incoming) == b"220 server first"
    assert dial.source_port == 0


@pytest.mark.parametrize("error", [errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH])
def test_a_proxy_that_cannot_be_reached_is_down_at_once(bed: Bed, error: int) -> None:
    dial, carrier = bed.dial()
    carrier.fail(error)
    assert dial.failure.error == errno.ETIMEDOUT
    assert not bed.outbound.up
    assert len(bed.way.dials) == 2, "it is probed at once"
    bed.way.dials[1].accept()
    bed.way.dials[1].say(CHOSEN)
    assert bed.outbound.up
    bed.way.raises = error
    with pytest.raises(OSError) as caught:
        bed.outbound.dial(REQUEST, lambda _: None)
    assert caught.value.errno == errno.ETIMEDOUT
    assert not bed.outbound.up


@pytest.mark.parametrize("error", [errno.EMFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS])
def test_what_is_lacking_here_says_nothing_about_the_proxy(bed: Bed, error: int) -> None:
    bed.way.raises = error
    with pytest.raises(OSError) as caught:
        bed.outbound.dial(REQUEST, lambda _: None)
    assert caught.value.errno == error
    assert bed.outbound.up
    assert len(bed.way.dials) == 1, "nor is it probed"


def test_one_that_does_not_answer_is_probed_before_it_is_down(bed: Bed) -> None:
    _, carrier = bed.dial()
    carrier.accept()
    bed.loop.wait(PATIENCE)
    assert bed.outbound.up
    assert len(bed.way.dials) == 2
    bed.loop.wait(PATIENCE)
    assert bed.outbound.why_down() == "proxy 192.0.2.1:1080: no answer"
    assert bed.way.dials[1].is_abandoned
    assert not carrier.is_abandoned, "connections that exist are left alone"


def test_it_is_probed_with_a_growing_delay_until_it_answers(bed: Bed) -> None:
    bed.way.raises = errno.ECONNREFUSED
    with pytest.raises(OSError):
        bed.outbound.dial(REQUEST, lambda _: None)
    delays, dials = list[int](), 2
    assert len(bed.way.dials) == dials
    while not delays or sum(delays) < 4 * LAST_DELAY:
        delays.append(0)
        while len(bed.way.dials) == dials:
            bed.loop.wait(1)
            delays[-1] += 1
        dials += 1
        assert len(bed.way.dials) == dials
    assert delays == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert bed.outbound.why_down() == "proxy 192.0.2.1:1080: it refuses connections"
    bed.way.raises = 0
    bed.loop.wait(LAST_DELAY)
    bed.way.dials[-1].accept()
    bed.way.dials[-1].say(CHOSEN)
    assert bed.outbound.up
    bed.loop.wait(4 * LAST_DELAY)
    assert len(bed.way.dials) == dials + 1, "while nothing fails nothing is sent"


def test_a_login_that_is_refused_takes_it_down_without_a_probe() -> None:
    bed = Bed(Proxy("192.0.2.1", 1080, Credentials(b"me", b"a secret word")))
    dial, carrier = bed.dial()
    carrier.accept()
    carrier.say(b"\x05\x02")
    carrier.say(b"\x01\x01")
    assert dial.failure is not None
    assert bed.outbound.why_down() == "proxy 192.0.2.1:1080: it refuses the user name or password"
    assert len(bed.way.dials) == 1
    assert "secret" not in repr(bed.outbound.why_down()) + repr(dial)


def test_all_addresses_of_a_name_are_tried() -> None:
    bed = Bed(Proxy("proxy.example", 1080, resolved=(ONE, TWO)), ONE, TWO)
    dial, first = bed.dial()
    first.fail(errno.ECONNREFUSED)
    second = bed.way.dials[-1]
    assert (first.address, second.address) == (ONE, TWO)
    assert first.is_abandoned
    second.accept()
    second.say(CHOSEN)
    second.say(CONNECTED)
    assert dial.is_connected
    assert bed.outbound.up


def test_a_name_has_its_addresses_of_the_moment() -> None:
    bed = Bed(Proxy("proxy.example", 1080, resolved=(ONE,)), TWO)
    dial, carrier = bed.dial()
    carrier.fail(errno.ECONNREFUSED)
    assert dial.failure
    assert bed.way.dials[-1].address == TWO
    bed.way.dials[-1].accept()
    bed.way.dials[-1].say(CHOSEN)
    assert bed.outbound.up
    assert bed.dial()[1].address == TWO


def connect(bed: Bed) -> Any:
    """A connection of an application, opened and used."""
    dial, carrier = bed.dial()
    if not carrier.is_connected:
        carrier.accept()
        carrier.say(CHOSEN)
    carrier.say(CONNECTED)
    assert dial.is_connected
    dial.release()
    bed.loop.wait(0)
    return dial


def make_ready(bed: Bed) -> MemoryDial:
    """The connection that waits for the next request, past the login."""
    connect(bed)
    ready = bed.way.dials[-1]
    ready.accept()
    ready.say(CHOSEN)
    return ready


def test_the_next_request_goes_by_a_connection_that_is_ready(bed: Bed) -> None:
    ready = make_ready(bed)
    assert ready.sock.sent == b"\x05\x01\x00"
    dial = bed.outbound.dial(REQUEST, lambda _: None)
    assert ready.sock.sent[3:] == request(Command.CONNECT, FAR, 443)
    ready.say(CONNECTED + b"220 server first")
    assert dial.is_connected
    assert bytes(ready.sock.incoming) == b"220 server first"
    bed.loop.wait(KEPT)
    assert len(bed.way.dials) == 3, "one for the next"
    assert not ready.is_abandoned, "it is the application's"


def test_a_ready_connection_without_a_request_is_closed(bed: Bed) -> None:
    ready = make_ready(bed)
    bed.loop.wait(KEPT)
    assert ready.is_abandoned
    assert len(bed.way.dials) == 2, "and none follows it"
    assert bed.descriptors.free == bed.free


def test_a_ready_connection_that_the_proxy_ends_is_not_used(bed: Bed) -> None:
    ready = make_ready(bed)
    ready.end()
    assert ready.is_abandoned
    _, carrier = bed.dial()
    assert not carrier.is_connected, "a new one"


def test_a_request_that_a_ready_connection_may_not_have_carried_is_repeated(bed: Bed) -> None:
    ready = make_ready(bed)
    dial = bed.outbound.dial(REQUEST, lambda _: None)
    ready.end()
    assert dial.failure is None
    again = bed.way.dials[-1]
    assert (again.is_connected, ready.is_abandoned) == (False, True)
    again.accept()
    again.say(CHOSEN)
    again.say(CONNECTED)
    assert dial.is_connected


def test_a_proxy_that_refuses_by_ending_is_asked_once(bed: Bed) -> None:
    """As ssh does; on a new connection it could only have ended in place of a reply."""
    dial, carrier = bed.dial()
    carrier.accept()
    carrier.say(CHOSEN)
    carrier.end()
    assert dial.failure is not None
    ready = make_ready(bed)
    dial = bed.outbound.dial(REQUEST, lambda _: None)
    ready.end()
    assert dial.failure is not None
    assert dial.failure.error == errno.EHOSTUNREACH


def test_no_more_than_a_few_are_ready(bed: Bed) -> None:
    for _ in range(3 * MOST):
        dial, carrier = bed.dial()
        carrier.accept()
        carrier.say(CHOSEN)
        carrier.say(CONNECTED)
        dial.release()
    bed.loop.wait(0)
    assert len(bed.way.dials) == 3 * MOST + MOST
    bed.outbound.close()
    assert bed.descriptors.free == bed.free


def test_a_family_that_was_refused_is_refused_at_once(
    bed: Bed, caplog: pytest.LogCaptureFixture
) -> None:
    far = REQUEST._replace(destination=bytes(15) + b"\x01")
    dial = bed.outbound.dial(far, lambda _: None)
    carrier = bed.way.dials[-1]
    carrier.accept()
    carrier.say(CHOSEN)
    carrier.say(b"\x05\x08")
    assert dial.failure is not None
    assert dial.failure.error == errno.ENETUNREACH
    assert bed.outbound.found == ["refuses IPv6 destinations"]
    with pytest.raises(OSError) as caught:
        bed.outbound.dial(far, lambda _: None)
    assert caught.value.errno == errno.ENETUNREACH
    bed.dial()
    assert "proxy 192.0.2.1:1080 refuses IPv6 destinations" in caplog.text
    bed.loop.wait(found.KEPT)
    assert bed.outbound.found == []
    bed.outbound.dial(far, lambda _: None)
    assert len(caplog.records) == 1


def judge(bed: Bed) -> list[bool]:
    """The verdict about a connection that has ended before a byte came, once there is one."""
    verdicts = list[bool]()
    bed.outbound.on_empty_end(verdicts.append)
    return verdicts


def test_a_proxy_that_says_success_early_is_recognised(
    bed: Bed, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = judge(bed), judge(bed)
    assert not one, "until the proxy has answered"
    (question,) = bed.way.dials
    question.accept()
    question.say(CHOSEN)
    assert question.sock.sent[3:] == request(Command.CONNECT, bytes((224, 0, 0, 1)), 9)
    question.say(CONNECTED)
    assert (one, other) == ([True], [True])
    assert question.is_abandoned
    assert judge(bed) == [True]
    assert len(bed.way.dials) == 1
    assert bed.outbound.found == ["says that it has connected before it knows"]
    assert len(caplog.records) == 1
    assert bed.descriptors.free == bed.free


@pytest.mark.parametrize("answer", [b"\x05\x03", b"\x05\x01", None, "end"])
def test_a_proxy_that_knows_what_it_says_is_believed(bed: Bed, answer: bytes | str | None) -> None:
    verdicts = judge(bed)
    (question,) = bed.way.dials
    question.accept()
    question.say(CHOSEN)
    if isinstance(answer, bytes):
        question.say(answer)
    elif answer is not None:
        question.end()
    bed.loop.wait(early.PATIENCE)
    assert verdicts == [False]
    assert judge(bed) == [False]
    assert len(bed.way.dials) == 1, "it is not asked again for a while"
    assert not bed.outbound.found


def test_a_proxy_that_cannot_be_asked_is_asked_the_next_time(bed: Bed) -> None:
    verdicts = judge(bed)
    bed.way.dials[0].fail(errno.ECONNREFUSED)
    assert verdicts == [False]
    judge(bed)
    assert len(bed.way.dials) == 2


@given(
    pieces=st.lists(st.binary(max_size=12), max_size=8),
    starts=st.sampled_from([b"", CHOSEN, CHOSEN + CONNECTED[:4], b"\x05\x02", b"\x05\x02\x01\x00"]),
    with_password=st.booleans(),
)
@settings(max_examples=examples(300))
def test_any_bytes_end_in_a_result(pieces: list[bytes], starts: bytes, with_password: bool) -> None:
    credentials = Credentials(b"me", b"word") if with_password else None
    bed = Bed(Proxy("192.0.2.1", 1080, credentials))
    dial, carrier = bed.dial()
    carrier.accept()
    for piece in (starts, *pieces):
        carrier.say(piece)
    carrier.end()
    assert dial.is_connected != (dial.failure is not None)
    dial.abandon()


@given(
    events=st.lists(st.sampled_from(["accept", "say", "end", "refuse", "unreachable"]), max_size=8)
)
@settings(max_examples=examples(200))
def test_any_order_of_events_has_one_outcome(events: list[str]) -> None:
    way, seen = MemoryWay(), list[object]()
    conversation = Conversation(
        cast(Any, way.dial),
        *([ONE, TWO], 1080, Dialogue(None, request(Command.CONNECT, FAR, 443))),
        lambda _: seen.append(conversation.outcome),
    )
    for event in events:
        carrier = way.dials[-1]
        if event == "accept":
            carrier.accept()
        elif event == "say":
            carrier.say(b"\x05")
        elif event == "end":
            carrier.end()
        else:
            carrier.fail(errno.ECONNREFUSED if event == "refuse" else errno.EHOSTUNREACH)
    decided = [outcome for outcome in seen if outcome is not None]
    assert len({id(outcome) for outcome in decided}) <= 1
    assert all(isinstance(outcome, (Reply, Fault, Unreached)) for outcome in decided)
