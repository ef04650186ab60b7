"""What a proxy is found not to do: families that it refuses, and success said too early."""

from __future__ import annotations

import errno

import pytest

from router.outbound.socks5 import early, found
from router.wire.socks5 import Command, request
from tests.unit.outbound.memory_proxy import (
    CHOSEN,
    CONNECTED,
    REQUEST,
    Bed,
)


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


def decide(bed: Bed) -> list[bool]:
    """The decision about a connection that has ended before a byte came, once there is one."""
    decisions = list[bool]()
    bed.outbound.on_empty_end(decisions.append)
    return decisions


def test_a_proxy_that_says_success_early_is_recognised(
    bed: Bed, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = decide(bed), decide(bed)
    assert not one, "until the proxy has answered"
    (question,) = bed.way.dials
    question.accept()
    question.say(CHOSEN)
    assert question.sock.sent[3:] == request(Command.CONNECT, bytes((224, 0, 0, 1)), 9)
    question.say(CONNECTED)
    assert (one, other) == ([True], [True])
    assert question.is_abandoned
    assert decide(bed) == [True]
    assert len(bed.way.dials) == 1
    assert bed.outbound.found == ["says that it has connected before it knows"]
    assert len(caplog.records) == 1
    assert bed.descriptors.free == bed.free


@pytest.mark.parametrize("answer", [b"\x05\x03", b"\x05\x01", None, "end"])
def test_a_proxy_that_knows_what_it_says_is_believed(bed: Bed, answer: bytes | str | None) -> None:
    decisions = decide(bed)
    (question,) = bed.way.dials
    question.accept()
    question.say(CHOSEN)
    if isinstance(answer, bytes):
        question.say(answer)
    elif answer is not None:
        question.end()
    bed.loop.wait(early.PATIENCE)
    assert decisions == [False]
    assert decide(bed) == [False]
    assert len(bed.way.dials) == 1, "it is not asked again for a while"
    assert not bed.outbound.found


def test_a_proxy_that_cannot_be_asked_is_asked_the_next_time(bed: Bed) -> None:
    decisions = decide(bed)
    bed.way.dials[0].fail(errno.ECONNREFUSED)
    assert decisions == [False]
    decide(bed)
    assert len(bed.way.dials) == 2
