"""Keepalive in memory: which segments of an application are keepalive probes, and what happens to
them with and without an answer of the far end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from router.engine.tcp import keepalive
from tests.unit.engine.tcp.cases import established, segment, tcp_world
from tests.unit.wire.packets import TCP, decoded

REQUEST = 100
"""The sequence number of the connection request."""
RECEIVED = 12
"""Bytes that our kernel has had from the application."""
PROBE = REQUEST + RECEIVED
"""The sequence number of the last of them; the next byte would have the next number."""


class Connection:
    """An idle connection: data arrived long ago, and nothing is unacknowledged."""

    def __init__(self, directory: Path, version: int) -> None:
        self.version = version
        self.world, self.memory = tcp_world(directory)
        self.outer, self.inner = established((self.world, self.memory), version)
        self.inner.tcp_info = self.inner.tcp_info._replace(received=RECEIVED)
        self.memory.now = 1000.0

    def send(self, **fields: Any) -> list[bytes]:
        """What is written to the TUN at once."""
        fields = {"flags": "A", "seq": PROBE, **fields}
        packet = segment(self.version, **fields)
        return self.world.send_together([packet], self.memory.now)

    def answer(self) -> None:
        """A segment of the far end arrives."""
        self.outer.tcp_info = self.outer.tcp_info._replace(
            segments=self.outer.tcp_info.segments + 1
        )

    def look(self, after: float) -> list[bytes]:
        """What is written to the TUN after the given seconds."""
        self.world.tun.written.clear()
        self.memory.now += after
        callbacks, self.memory.later = self.memory.later, []
        for callback in callbacks:
            callback()
        return list(self.world.tun.written)


@pytest.fixture(params=[4, 6])
def connection(request: pytest.FixtureRequest, tmp_path: Path) -> Connection:
    return Connection(tmp_path, request.param)


def test_a_probe_is_held_until_the_far_end_answers(connection: Connection) -> None:
    assert connection.send() == []
    assert connection.outer.probes == 1
    assert connection.look(after=0.1) == []
    connection.answer()
    (delivered,) = connection.look(after=0.1)
    read = decoded(delivered)[TCP]
    assert (read.seq, read.flags) == (PROBE, "A")
    assert not connection.outer.is_probing
    assert connection.memory.later == [], "no timer is left"


def test_a_byte_of_garbage_makes_no_difference(connection: Connection) -> None:
    assert connection.send(payload=b"?") == []
    assert connection.outer.probes == 1


def test_a_probe_without_an_answer_is_dropped(connection: Connection) -> None:
    assert connection.send() == []
    assert connection.look(after=keepalive.PATIENCE) == []
    assert not connection.outer.is_probing
    connection.answer()
    assert connection.look(after=1.0) == []
    assert (connection.memory.later, connection.world.drops) == ([], {})


def test_every_probe_is_sent_and_the_last_is_answered(connection: Connection) -> None:
    for sent in (1, 2, 3):
        assert connection.send() == []
        assert connection.outer.probes == sent
        assert connection.look(after=1.0) == []
    connection.answer()
    assert len(connection.look(after=1.0)) == 1


def test_a_probe_after_an_answer_not_yet_read_is_delivered(
    connection: Connection,
) -> None:
    assert connection.send() == []
    connection.answer()
    connection.memory.now += 1.0
    assert len(connection.send()) == 1
    assert connection.outer.probes == 1


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
def test_other_segments_are_delivered_at_once(
    connection: Connection, fields: dict[str, Any]
) -> None:
    assert len(connection.send(**fields)) == 1
    assert connection.outer.probes == 0


def test_no_probe_is_sent_right_after_another_segment(connection: Connection) -> None:
    assert len(connection.send(seq=PROBE + 1)) == 1
    assert len(connection.send()) == 1
    connection.memory.now += 1.0
    assert connection.send() == []


@pytest.mark.parametrize(
    "tcp_info",
    [{"has_unacknowledged": True}, {"silence": 0.1}],
    ids=["has unacknowledged data", "has sent a segment just now"],
)
def test_a_far_end_known_to_answer_is_not_probed(
    connection: Connection, tcp_info: dict[str, Any]
) -> None:
    connection.outer.tcp_info = connection.outer.tcp_info._replace(**tcp_info)
    assert len(connection.send()) == 1
    assert connection.outer.probes == 0


def test_sequence_numbers_wrap(connection: Connection) -> None:
    received = 2**32 - REQUEST
    connection.inner.tcp_info = connection.inner.tcp_info._replace(received=received)
    assert connection.send(seq=0) == []


def test_a_reset_connection_drops_the_held_probe(connection: Connection) -> None:
    """The far end has answered with a reset."""
    assert connection.send() == []
    connection.outer.there.close()
    connection.memory.change(connection.outer)
    connection.inner.there.shutdown(1)
    connection.memory.change(connection.inner)
    assert connection.outer.closed
    assert connection.look(after=1.0) == []
    assert connection.memory.later == []
