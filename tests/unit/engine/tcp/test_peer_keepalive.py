"""Inquiry in memory: after whom the router asks when a far end does, and when it stops."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.engine.tcp import peer_keepalive
from tests.unit.engine.tcp.cases import LAN, Worlds, established, segment, tcp_world
from tests.unit.engine.tcp.memory import MemoryStream
from tests.unit.wire.packets import INSIDE

BOTH = pytest.mark.parametrize("version", [4, 6])
LONG_AFTER = 1000.0


def hear(sock: MemoryStream) -> None:
    """A segment comes in at one of our sockets."""
    sock.tcp_info = sock.tcp_info._replace(segments=sock.tcp_info.segments + 1)


def look(worlds: Worlds, now: float) -> None:
    worlds[0].forwarder.expire(now)


@pytest.fixture
def worlds(tmp_path: Path) -> Worlds:
    return tcp_world(tmp_path)


@BOTH
def test_an_application_is_asked_once_its_far_end_asks(worlds: Worlds, version: int) -> None:
    outer, inner = established(worlds, version, LAN)
    for second in range(10):
        look(worlds, LONG_AFTER + second)
    assert inner.probes == 0, "nobody has asked"
    hear(outer)
    look(worlds, LONG_AFTER + 10)
    assert inner.is_probing
    hear(outer)
    look(worlds, LONG_AFTER + 11)
    assert (inner.probes, inner.is_probing) == (1, True), "the system does the rest"
    hear(inner)
    look(worlds, LONG_AFTER + 12)
    assert not inner.is_probing


@BOTH
def test_it_is_asked_again_when_the_far_end_asks_again(worlds: Worlds, version: int) -> None:
    outer, inner = established(worlds, version, LAN)
    look(worlds, LONG_AFTER)
    for asked in (1, 2, 3):
        hear(outer)
        look(worlds, LONG_AFTER + 10 * asked)
        assert (inner.probes, inner.is_probing) == (asked, True)
        hear(inner)
        look(worlds, LONG_AFTER + 10 * asked + 1)
        assert not inner.is_probing


@BOTH
def test_what_passes_on_inside_is_no_question(worlds: Worlds, version: int) -> None:
    outer, inner = established(worlds, version, LAN)
    look(worlds, LONG_AFTER)
    hear(outer)
    worlds[0].send(segment(version, "A", seq=101, source=LAN), LONG_AFTER + 1)
    look(worlds, LONG_AFTER + 1 + peer_keepalive.QUIET)
    assert inner.probes == 0


@BOTH
def test_nor_is_what_comes_while_nobody_looks(worlds: Worlds, version: int) -> None:
    """Something has passed since the last look but one: nothing is known of the time between."""
    outer, inner = established(worlds, version, LAN)
    look(worlds, LONG_AFTER)
    worlds[0].send(segment(version, "A", seq=101, source=LAN), LONG_AFTER + 1)
    look(worlds, LONG_AFTER + 1.1)
    hear(outer)
    look(worlds, LONG_AFTER + 10)
    assert inner.probes == 0


@BOTH
def test_an_application_of_this_machine_is_not_asked(worlds: Worlds, version: int) -> None:
    outer, inner = established(worlds, version, INSIDE)
    look(worlds, LONG_AFTER)
    hear(outer)
    look(worlds, LONG_AFTER + 1)
    assert inner.probes == 0


@BOTH
def test_one_that_ends_while_it_is_asked_is_forgotten(worlds: Worlds, version: int) -> None:
    outer, inner = established(worlds, version, LAN)
    look(worlds, LONG_AFTER)
    hear(outer)
    look(worlds, LONG_AFTER + 1)
    inner.there.shutdown(1)
    worlds[1].change(inner)
    outer.there.shutdown(1)
    worlds[1].change(outer)
    look(worlds, LONG_AFTER + 2)
    assert inner.closed
    assert inner.is_probing, "nobody has touched it any more"


@BOTH
def test_many_are_looked_at_in_turn(
    worlds: Worlds, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer_keepalive, "MOST", 2)
    pairs = [
        established(worlds, version, {4: f"10.1.0.{host}", 6: f"fd01::{host}"})
        for host in range(2, 7)
    ]
    rounds = 3
    for second in range(rounds):
        look(worlds, LONG_AFTER + second)
    for outer, _ in pairs:
        hear(outer)
    asked = []
    for second in range(rounds):
        look(worlds, LONG_AFTER + rounds + second)
        asked.append(sum(inner.probes for _, inner in pairs))
    assert asked == [2, 4, 5]
