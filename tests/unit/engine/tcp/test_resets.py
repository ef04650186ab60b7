"""Resets that applications have missed, and how often they are made up for."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.engine.tcp.resets import REPEATED
from router.wire import offload
from tests.unit.engine.tcp.cases import (
    ALL_END,
    HOME,
    Worlds,
    answer_to,
    dialled,
    established,
    listener_of,
    segment,
    tcp_world,
)
from tests.unit.engine.world import far
from tests.unit.wire.packets import INSIDE, TCP, decoded

BOTH = pytest.mark.parametrize("version", [4, 6])


@pytest.fixture
def worlds(tmp_path: Path) -> Worlds:
    return tcp_world(tmp_path)


@BOTH
def test_a_reset_that_the_tun_had_no_room_for_is_made_up_for(worlds: Worlds, version: int) -> None:
    """Our kernel sends one, once. The application is made to say up to where it has received."""
    world, memory = worlds
    outer, inner = established(worlds, version)
    world.tun.written.clear()
    world.carriers.streams.reevaluate(ALL_END)
    assert (inner.resets, inner.closed, outer.closed) == (True, True, True)
    world.carriers.streams.look_after_peers(memory.now + 0.5)
    assert world.tun.written == [], "it may be on its way"
    world.carriers.streams.look_after_peers(memory.now + 1)
    (asked,) = [decoded(packet) for packet in world.tun.written]
    assert (asked.src, asked.dst) == (far(version, HOME), INSIDE[version])
    assert (asked[TCP].sport, asked[TCP].dport, asked[TCP].flags) == (80, 4000, "S")
    (reset,) = world.send(segment(version, "A", seq=101, acknowledges=7000))
    assert (decoded(reset)[TCP].flags, decoded(reset)[TCP].seq) == ("R", 7000)


@BOTH
def test_an_answer_of_the_application_may_be_lost_as_well(worlds: Worlds, version: int) -> None:
    world, memory = worlds
    established(worlds, version)
    world.carriers.streams.reevaluate(ALL_END)
    asked = []
    for second in range(1, 10):
        world.tun.written.clear()
        world.carriers.streams.look_after_peers(memory.now + second)
        asked.append(len(world.tun.written))
    assert asked == [1] * REPEATED + [0] * (9 - REPEATED)


@BOTH
@pytest.mark.parametrize("what", ["its reset has passed", "its ports have another connection"])
def test_a_reset_that_is_not_missed_is_not_repeated(
    worlds: Worlds, version: int, what: str
) -> None:
    world, memory = worlds
    _, (request,) = dialled(worlds, version)
    memory.connect(listener_of(memory, request), (request.src, request[TCP].sport))
    world.carriers.streams.reevaluate(ALL_END)
    if what == "its reset has passed":
        (reset,) = world.send(answer_to(request, "R"))
        assert decoded(reset).dst == INSIDE[version]
    else:
        world.send(segment(version, seq=7000))
    world.tun.written.clear()
    world.carriers.streams.look_after_peers(memory.now + 1)
    assert world.tun.written == []


@BOTH
@pytest.mark.parametrize("is_delivered", [False, True], ids=["not delivered", "delivered"])
def test_what_our_kernel_still_delivers_when_the_router_stops_ends_by_a_reset(
    worlds: Worlds, version: int, is_delivered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both ends have ended, and the far end's last bytes wait for the application to read."""
    outer, inner = established(worlds, version)
    world, memory = worlds
    request = decoded(world.tun.written[0])
    for sock in (inner, outer):
        sock.there.shutdown(1)
        memory.change(sock)
    assert (inner.closed, outer.closed, inner.resets) == (True, True, False)
    if is_delivered:
        world.send(answer_to(request, "FA"))
    world.tun.written.clear()
    receive = world.tun.receive

    def receive_answer() -> int:
        if len(world.tun.written) == 1:
            answer = segment(version, "A", seq=102, acknowledges=7000)
            world.tun.incoming.append(offload.NOTHING_LEFT + answer)
        return receive()

    monkeypatch.setattr(world.tun, "receive", receive_answer)
    world.carriers.streams.close()
    written = [decoded(packet) for packet in world.tun.written]
    if is_delivered:
        assert written == []
        return
    asked, reset = written
    assert asked[TCP].flags == "S"
    assert (reset[TCP].flags, reset[TCP].seq) == ("R", 7000)
    for each in (asked, reset):
        assert (each.src, each.dst) == (far(version, HOME), INSIDE[version])
        assert (each[TCP].sport, each[TCP].dport) == (80, 4000)
