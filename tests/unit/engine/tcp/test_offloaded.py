"""Flows whose plain segments the system rewrites: which they are, and that all of it is counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.engine.tcp.offloaded import BULK, LEAST
from router.flows.flow import Flow
from router.outbound.base import Outbound
from router.platform.base.flow_offload import Passed, Translation
from router.wire import offload
from tests.unit.engine.offload import MemoryOffload
from tests.unit.engine.tcp.cases import Worlds, established, segment
from tests.unit.engine.world import World

PAYLOAD = bytes(4 * BULK)
FRAMES = LEAST // len(PAYLOAD) + 1


class Bed:
    """A world with an offload, and one connection."""

    def __init__(self, directory: Path, version: int) -> None:
        self.offload = MemoryOffload()
        self.world = World(directory, most=100, flow_offload=self.offload)
        self.version = version
        self.worlds: Worlds = self.world, self.world.tcp
        self.outer, self.inner = established(self.worlds, version)

    @property
    def flow(self) -> Flow[Outbound]:
        (flow,) = self.world.carriers.streams.flows()
        return flow

    def carry(self, frame: bytes, now: float = 1.0) -> bool:
        whole = offload.NOTHING_LEFT + frame
        self.world.tun.frame[: len(whole)] = whole
        return self.world.carriers.streams.carry(len(whole), now)

    def move_much(self, traffic_class: int = 0) -> None:
        for _ in range(FRAMES):
            assert self.carry(
                segment(self.version, "A", payload=PAYLOAD, traffic_class=traffic_class)
            )


def both(bed: Bed) -> list[Translation]:
    """The directions of the one flow that is offloaded."""
    (parts,) = bed.offload.flows.values()
    return [part for part in parts if isinstance(part, Translation)]


@pytest.fixture(params=[4, 6])
def bed(request: pytest.FixtureRequest, tmp_path: Path) -> Bed:
    return Bed(tmp_path, request.param)


def test_a_flow_that_moves_much_is_offloaded(bed: Bed) -> None:
    assert bed.carry(segment(bed.version, "A", payload=PAYLOAD))
    assert bed.offload.flows == {}, "one frame is not much"
    bed.move_much()
    to_us, to_application = both(bed)
    assert to_us.old == bed.flow.key
    size = (len(to_us.old) - 4) // 2
    assert to_application.new[:size] == to_us.old[size : 2 * size], "from the host"
    assert to_application.old[:size] == to_us.new[size : 2 * size], "from our listener"
    assert (to_us.dscp, to_application.dscp) == (0, None)


def test_what_has_passed_is_counted(bed: Bed) -> None:
    bed.move_much()
    before = bed.flow.packets_out, bed.flow.bytes_out
    bed.offload.counts = [Passed(5.0, 3, 300), Passed(7.0, 10, 9000)]
    flow = bed.flow
    assert (flow.packets_out, flow.bytes_out) == (before[0] + 3, before[1] + 300)
    assert (flow.packets_in, flow.bytes_in, flow.last) == (10, 9000, 7.0)
    assert sum(each.bytes_in for each in bed.world.forwarder.tallies) == 9000
    assert bed.flow.bytes_in == 9000, "once"


def test_an_end_ends_it_with_all_counts(bed: Bed) -> None:
    bed.move_much()
    flow = bed.flow
    bed.offload.counts = [Passed(5.0, 3, 300), Passed(7.0, 10, 9000)]
    bed.world.carriers.streams.close()
    assert bed.offload.flows == {}
    assert flow.bytes_in == 9000


def test_none_is_offloaded_that_an_observer_wants(bed: Bed) -> None:
    bed.move_much()
    streams = bed.world.carriers.streams
    streams.observe(lambda key: key != bed.flow.key)
    assert len(bed.offload.flows) == 1, "it goes on"
    streams.observe(lambda key: key == bed.flow.key)
    bed.move_much()
    assert bed.offload.flows == {}
    streams.observe(lambda _: False)
    bed.move_much()
    assert len(bed.offload.flows) == 1
    streams.observe(None)
    bed.move_much()
    assert len(bed.offload.flows) == 1


def test_another_traffic_class_is_followed(bed: Bed) -> None:
    bed.move_much()
    assert bed.carry(segment(bed.version, "A", traffic_class=0xB8))
    assert bed.offload.flows == {}
    bed.move_much(traffic_class=0xB8)
    to_us, _ = both(bed)
    assert to_us.dscp == 0xB8


def test_a_segment_after_a_silence_is_noted(bed: Bed) -> None:
    bed.move_much()
    bed.offload.touched.clear()
    short = segment(bed.version, "A", payload=b"no probe")
    assert bed.carry(short)
    assert bed.offload.touched == []
    assert bed.carry(short, now=100.0)
    assert bed.offload.touched == [100.0]


def test_at_most_as_many_as_the_system_takes(bed: Bed) -> None:
    bed.offload.most = 0
    bed.move_much()
    assert bed.offload.flows == {}
