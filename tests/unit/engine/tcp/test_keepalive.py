"""Keepalive in memory: which segments of an application ask whether the far end is there, and what
becomes of them when it has answered, or has not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from router.engine.tcp import keepalive
from tests.unit.engine.tcp.cases import established, segment, tcp_world
from tests.unit.wire.packets import TCP, decoded

REQUEST = 100
"""The sequence number of it."""
SAID = 12
"""Bytes that our kernel has had from the application."""
PROBE = REQUEST + SAID
"""The number of the last of them: what follows would have the next one."""


class Conversation:
    """One whose application has said something long ago, and is owed nothing."""

    def __init__(self, directory: Path, version: int) -> None:
        self.version = version
        self.world, self.memory = tcp_world(directory)
        self.outer, self.inner = established((self.world, self.memory), version)
        self.inner.tcp_info = self.inner.tcp_info._replace(received=SAID)
        self.memory.now = 1000.0

    def send(self, **fields: Any) -> list[bytes]:
        """What goes on to our kernel at once."""
        fields = {"flags": "A", "seq": PROBE, **fields}
        packet = segment(self.version, **fields)
        return self.world.send_together([packet], self.memory.now)

    def answer(self) -> None:
        """The far end says something."""
        self.outer.tcp_info = self.outer.tcp_info._replace(
            segments=self.outer.tcp_info.segments + 1
        )

    def look(self, after: float) -> list[bytes]:
        """What goes on to our kernel when time has passed."""
        self.world.tun.written.clear()
        self.memory.now += after
        callbacks, self.memory.later = self.memory.later, []
        for callback in callbacks:
            callback()
        return list(self.world.tun.written)


@pytest.fixture(params=[4, 6])
def conversation(request: pytest.FixtureRequest, tmp_path: Path) -> Conversation:
    return Conversation(tmp_path, request.param)


def test_a_probe_waits_for_the_far_end(conversation: Conversation) -> None:
    assert conversation.send() == []
    assert conversation.outer.probes == 1
    assert conversation.look(after=0.1) == []
    conversation.answer()
    (handed_in,) = conversation.look(after=0.1)
    read = decoded(handed_in)[TCP]
    assert (read.seq, read.flags) == (PROBE, "A")
    assert not conversation.outer.is_probing
    assert conversation.memory.later == [], "nobody looks any longer"


def test_a_byte_of_garbage_makes_no_difference(conversation: Conversation) -> None:
    assert conversation.send(payload=b"?") == []
    assert conversation.outer.probes == 1


def test_a_probe_without_an_answer_is_forgotten(conversation: Conversation) -> None:
    assert conversation.send() == []
    assert conversation.look(after=keepalive.PATIENCE) == []
    assert not conversation.outer.is_probing
    conversation.answer()
    assert conversation.look(after=1.0) == []
    assert (conversation.memory.later, conversation.world.drops) == ([], {})


def test_every_probe_goes_out_and_the_last_is_answered(conversation: Conversation) -> None:
    for asked in (1, 2, 3):
        assert conversation.send() == []
        assert conversation.outer.probes == asked
        assert conversation.look(after=1.0) == []
    conversation.answer()
    assert len(conversation.look(after=1.0)) == 1


def test_one_behind_an_answer_that_nobody_has_looked_at_goes_on(
    conversation: Conversation,
) -> None:
    assert conversation.send() == []
    conversation.answer()
    conversation.memory.now += 1.0
    assert len(conversation.send()) == 1
    assert conversation.outer.probes == 1


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"seq": PROBE + 1}, id="the next number"),
        pytest.param({"seq": PROBE - 1}, id="one long gone"),
        pytest.param({"payload": b"??"}, id="data"),
        pytest.param({"flags": "FA"}, id="an end"),
        pytest.param({"flags": "RA"}, id="a reset"),
    ],
)
def test_what_is_no_probe_goes_on_at_once(
    conversation: Conversation, fields: dict[str, Any]
) -> None:
    assert len(conversation.send(**fields)) == 1
    assert conversation.outer.probes == 0


def test_nobody_probes_right_after_something_has_passed(conversation: Conversation) -> None:
    assert len(conversation.send(seq=PROBE + 1)) == 1
    assert len(conversation.send()) == 1
    conversation.memory.now += 1.0
    assert conversation.send() == []


@pytest.mark.parametrize(
    "tcp_info",
    [{"has_unacknowledged": True}, {"silence": 0.1}],
    ids=["is waited for anyhow", "has just spoken"],
)
def test_a_far_end_that_need_not_be_asked_is_not(
    conversation: Conversation, tcp_info: dict[str, Any]
) -> None:
    conversation.outer.tcp_info = conversation.outer.tcp_info._replace(**tcp_info)
    assert len(conversation.send()) == 1
    assert conversation.outer.probes == 0


def test_numbers_begin_anew(conversation: Conversation) -> None:
    received = 2**32 - REQUEST
    conversation.inner.tcp_info = conversation.inner.tcp_info._replace(received=received)
    assert conversation.send(seq=0) == []


def test_a_connection_that_breaks_takes_the_question_along(conversation: Conversation) -> None:
    """The far end has answered with a reset."""
    assert conversation.send() == []
    conversation.outer.there.close()
    conversation.memory.change(conversation.outer)
    conversation.inner.there.shutdown(1)
    conversation.memory.change(conversation.inner)
    assert conversation.outer.closed
    assert conversation.look(after=1.0) == []
    assert conversation.memory.later == []
