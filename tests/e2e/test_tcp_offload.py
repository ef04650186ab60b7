"""Segments of bulk connections that the system rewrites at the TUN: the bytes arrive as they were
sent, nearly none of them pass the router, and all of them are counted. Where the kernel cannot do
that, the router says so, and they pass it."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.status import read_status
from tests.e2e.tcp_bed import HOME, RULES, Pair, alongside, conversation
from tests.e2e.testbed import FAMILIES, Testbed
from tests.e2e.tunrouter import TUN, Tunrouter, relayed, running

MUCH = 8 << 20
TRIES = 10
REFUSED = "the kernel carries no flows"
REWRITES = tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 6)
"""Whether the kernel has tcx."""


@pytest.fixture(scope="module")
def router(bed: Testbed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tunrouter]:
    directory: Path = tmp_path_factory.mktemp("offload")
    with running(bed.router, directory, relayed(RULES)) as found:
        assert (REFUSED not in found.log) == REWRITES, found.log
        yield found


def passed(bed: Testbed) -> int:
    """Bytes that have passed the TUN's file."""
    return sum(bed.router.counter(TUN, name) for name in ("tx_bytes", "rx_bytes"))


def counted(bed: Testbed) -> tuple[int, int]:
    """Bytes of the policy, from the inside and to the inside."""
    policy = read_status(bed.router)["policies"]["home"]
    return policy["bytes_out"], policy["bytes_in"]


def transfer(pair: Pair) -> None:
    """MUCH in each direction, one after the other."""
    data = random.Random(5).randbytes(MUCH)
    for source, sink in ((pair.client, pair.server), (pair.server, pair.client)):
        received = bytearray()
        with alongside(partial(source.sendall, data)):
            while len(received) < MUCH:
                received += sink.recv(1 << 18)
        assert received == data


@pytest.mark.parametrize("sender", ["lan", "local"])
def test_bulk_passes_the_router_only_where_the_kernel_cannot_rewrite_it(
    bed: Testbed, router: Tunrouter, sender: str
) -> None:
    namespace = bed.client if sender == "lan" else bed.router
    for family in FAMILIES:
        with conversation(bed, family, HOME, namespace) as pair:
            passes = any(_passes_by(bed, pair) for _ in range(TRIES))
        assert passes == REWRITES, family


def _passes_by(bed: Testbed, pair: Pair) -> bool:
    """Whether a transfer has passed by the router for the most part: the first ones may be over
    before the system has the flow."""
    before, counts = passed(bed), counted(bed)
    transfer(pair)
    moved = [after - then for after, then in zip(counted(bed), counts, strict=True)]
    assert min(moved) >= MUCH, "the status is up to date"
    return passed(bed) - before < MUCH
