"""Peer keepalive in memory: when a probe of the far end starts probes of the application."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.engine.tcp import peer_keepalive
from tests.unit.engine.tcp.cases import LAN, Worlds, established, segment, tcp_world
from tests.unit.engine.tcp.memory import MemoryStream
from tests.unit.wire.packets import INSIDE

BOTH = pytest.mark.parametrize("version", [4, 6])
LONG_AFTER = 1000.0


def receive_segment(sock: MemoryStream) -> None:
    """A segment arrives at one of the router's sockets."""
    sock.tcp_info = sock.tcp_info._replace(segments=sock.tcp_info.segments + 1)


def check(worlds: Worlds, now: float) -> None:
    worlds[0].forwarder.expire(now)
    worlds[0].carriers.look_after_peers(now)


@pytest.fixture
def worlds(tmp_path: Path) -> Worlds:
    return tcp_world(tmp_path)


@BOTH
def test_an_application_is_probed_after_a_probe_of_its_far_end(
    worlds: Worlds, version: int
) -> None:
    outer, inner = established(worlds, version, LAN)
    for second in range(10):
        check(worlds, LONG_AFTER + second)
    assert inner.probes == 0, "the far end has sent no probe"
    receive_segment(outer)
    check(worlds, LONG_AFTER + 10)
    assert inner.is_probing
    receive_segment(outer)
    check(worlds, LONG_AFTER + 11)
    assert (inner.probes, inner.is_probing) == (1, True), "the system repeats the probe"
    receive_segment(inner)
    check(worlds, LONG_AFTER + 12)
    assert not inner.is_probing


@BOTH
def test_each_probe_of_the_far_end_starts_another(worlds: Worlds, version: int) -> None:
    outer, inner = established(worlds, version, LAN)
    check(worlds, LONG_AFTER)
    for probes in (1, 2, 3):
        receive_segment(outer)
        check(worlds, LONG_AFTER + 10 * probes)
        assert (inner.probes, inner.is_probing) == (probes, True)
        receive_segment(inner)
        check(worlds, LONG_AFTER + 10 * probes + 1)
        assert not inner.is_probing


@BOTH
def test_traffic_of_the_application_is_no_probe(worlds: Worlds, version: int) -> None:
    outer, inner = established(worlds, version, LAN)
    check(worlds, LONG_AFTER)
    receive_segment(outer)
    worlds[0].send(segment(version, "A", seq=101, source=LAN), LONG_AFTER + 1)
    check(worlds, LONG_AFTER + 1 + peer_keepalive.QUIET)
    assert inner.probes == 0


@BOTH
def test_traffic_between_two_checks_is_no_probe(worlds: Worlds, version: int) -> None:
    """A segment has passed since the check before last, so the order of the two is unknown."""
    outer, inner = established(worlds, version, LAN)
    check(worlds, LONG_AFTER)
    worlds[0].send(segment(version, "A", seq=101, source=LAN), LONG_AFTER + 1)
    check(worlds, LONG_AFTER + 1.1)
    receive_segment(outer)
    check(worlds, LONG_AFTER + 10)
    assert inner.probes == 0


@BOTH
def test_an_application_of_this_machine_is_not_probed(worlds: Worlds, version: int) -> None:
    outer, inner = established(worlds, version, INSIDE)
    check(worlds, LONG_AFTER)
    receive_segment(outer)
    check(worlds, LONG_AFTER + 1)
    assert inner.probes == 0


@BOTH
def test_a_connection_that_ends_while_it_is_probed_is_removed(worlds: Worlds, version: int) -> None:
    outer, inner = established(worlds, version, LAN)
    check(worlds, LONG_AFTER)
    receive_segment(outer)
    check(worlds, LONG_AFTER + 1)
    inner.there.shutdown(1)
    worlds[1].change(inner)
    outer.there.shutdown(1)
    worlds[1].change(outer)
    check(worlds, LONG_AFTER + 2)
    assert inner.closed
    assert inner.is_probing, "a closed socket is left as it was"


@BOTH
def test_many_connections_are_checked_in_turn(
    worlds: Worlds, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peer_keepalive, "MOST", 2)
    pairs = [
        established(worlds, version, {4: f"10.1.0.{host}", 6: f"fd01::{host}"})
        for host in range(2, 7)
    ]
    rounds = 3
    for second in range(rounds):
        check(worlds, LONG_AFTER + second)
    for outer, _ in pairs:
        receive_segment(outer)
    probes = []
    for second in range(rounds):
        check(worlds, LONG_AFTER + rounds + second)
        probes.append(sum(inner.probes for _, inner in pairs))
    assert probes == [2, 4, 5]
