"""Dials, conversations and probes of a proxy in memory: the test is the proxy and the clock."""

from __future__ import annotations

import errno
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.config.model import Proxy
from router.outbound.socks5.conversation import Conversation, Unreached
from router.outbound.socks5.probing import LAST_DELAY, PATIENCE
from router.wire.socks5 import Command, Credentials, Dialogue, Fault, Reply, request
from tests.unit.examples import examples
from tests.unit.outbound.memory_proxy import (
    CHOSEN,
    CONNECTED,
    FAR,
    ONE,
    REQUEST,
    TWO,
    Bed,
    MemoryWay,
)


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


def test_each_message_is_sent_in_one_piece(bed: Bed) -> None:
    """A segment each, as no connection of ours waits for more to send (TCP_NODELAY)."""
    with_login = Bed(Proxy("192.0.2.1", 1080, Credentials(b"me", b"word")))
    _, carrier = bed.dial()
    _, other = with_login.dial()
    for each in (carrier, other):
        each.accept()
    carrier.say(CHOSEN)
    other.say(b"\x05\x02")
    other.say(b"\x01\x00")
    asked = request(Command.CONNECT, FAR, 443)
    assert carrier.sock.messages == [b"\x05\x01\x00", asked]
    assert other.sock.messages == [b"\x05\x02\x00\x02", b"\x01\x02me\x04word", asked]


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
