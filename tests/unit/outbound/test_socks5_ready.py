"""Connections to a proxy that wait for the next request."""

from __future__ import annotations

import errno
from typing import Any

from router.outbound.socks5.ready import KEPT, MOST
from router.wire.socks5 import Command, request
from tests.unit.outbound.memory_proxy import (
    CHOSEN,
    CONNECTED,
    FAR,
    REQUEST,
    Bed,
    MemoryDial,
)


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


def test_a_ready_connection_whose_own_address_is_gone_is_not_used(bed: Bed) -> None:
    bed.outbound.refresh({})
    ready = make_ready(bed)
    bed.outbound.refresh({})
    assert not ready.is_abandoned
    bed.way.lost.append(ready.sock)
    bed.outbound.refresh({})
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


def test_each_that_no_request_comes_for_is_closed_in_its_time(bed: Bed) -> None:
    first = make_ready(bed)
    bed.loop.wait(KEPT / 2)
    for _ in range(2):
        connect(bed)
    second = bed.way.dials[-1]
    second.accept()
    second.say(CHOSEN)
    assert not first.is_abandoned, "it was used"
    bed.loop.wait(KEPT / 2)
    assert not second.is_abandoned
    bed.loop.wait(KEPT / 2)
    assert second.is_abandoned
    assert bed.descriptors.free == bed.free


def test_connections_leave_no_timer_each(bed: Bed) -> None:
    make_ready(bed)
    before = bed.loop.waiting
    for _ in range(50):
        connect(bed)
        bed.way.dials[-1].accept()
        bed.way.dials[-1].say(CHOSEN)
    assert bed.loop.waiting == before


def test_a_new_connection_leaves_no_timer_each(bed: Bed) -> None:
    bed.dial()
    before = bed.loop.waiting
    for _ in range(50):
        bed.dial()
    assert bed.loop.waiting == before
