"""Datagrams that a program sends as fast as it can, of sizes that let no two leave in one frame.

The TUN is never empty meanwhile. The kernel forwards them soon (ADR 035), in their order. Where it
cannot do that (before Linux 6.6), the router loses some, and keeps the others in order."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from typing import Final

import pytest

from tests.e2e.direct.ends import SOURCE
from tests.e2e.direct.forwarding import (
    FORWARDS,
    SENT_PACKETS,
    SO_RCVBUFFORCE,
    Counters,
    Datagrams,
    flow_of_datagrams,
)
from tests.e2e.testbed import Family, Testbed
from tests.e2e.tunrouter import TUN
from tests.e2e.udp import HOME, OFFICE, RULES
from tests.e2e.wait import BOUND_S, wait_until

pytestmark = [pytest.mark.rules(RULES), pytest.mark.usefixtures("direct")]

WINDOW: Final = 500
"""Datagrams, of which nine tenths at least are forwarded when all can be."""
MOST: Final = 1400
BUFFER: Final = 64 << 20
NUMBER: Final = 4
"""Bytes."""
BOTH_WAYS = pytest.mark.parametrize("host", [HOME, OFFICE], ids=["home", "vpn"])


class Flood:
    """Numbered datagrams of some flows in turn. sizes: of those of each flow, again and again."""

    def __init__(self, flows: Sequence[Datagrams], sizes: Sequence[int]) -> None:
        self._flows = flows
        self._sizes = sizes
        self._sent = 0
        for flow in flows:
            flow.server.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
            flow.server.setblocking(False)

    def send(self) -> None:
        """A window."""
        flows, sizes = self._flows, self._sizes
        payload = bytes(MOST)
        for number in range(self._sent, self._sent + WINDOW):
            of_flow, which = divmod(number, len(flows))
            size = sizes[of_flow % len(sizes)]
            flows[which].client.send(number.to_bytes(NUMBER, "big") + payload[: size - NUMBER])
        self._sent += WINDOW

    def arrived(self) -> list[list[int]]:
        """The numbers of each flow, in their order; as many as the buffers have room for."""
        found: list[list[int]] = [[] for _ in self._flows]

        def are_all_there() -> bool:
            for flow, numbers in zip(self._flows, found, strict=True):
                _receive_all(flow.server, numbers)
            return all(found)

        wait_until(are_all_there, "some of each flow")
        return found


def _receive_all(sock: socket.socket, numbers: list[int]) -> None:
    with suppress(BlockingIOError):
        while True:
            numbers.append(int.from_bytes(sock.recv(NUMBER)))


def send_until(flood: Flood, condition: Callable[[], bool]) -> None:
    """Without a pause."""
    deadline = time.monotonic() + BOUND_S
    while True:
        flood.send()
        if condition():
            return
        assert time.monotonic() < deadline, "the kernel forwards nothing of it"


SIZES: Final[dict[str, Sequence[int]]] = {
    "two": (100, 101),
    "random": random.Random(1).choices(range(NUMBER, MOST), k=997),
}


@pytest.mark.parametrize(("sizes", "count"), [("two", 1), ("random", 8)])
@BOTH_WAYS
def test_a_flood(bed: Testbed, family: Family, host: int, sizes: str, count: int) -> None:
    """Of one flow, and of several to as many hosts."""
    with ExitStack() as stack:
        flows = [
            stack.enter_context(flow_of_datagrams(bed, family, family.far(host + each)))
            for each in range(count)
        ]
        tun, outbound = (Counters(bed.router, name) for name in (TUN, SOURCE[host]))
        stack.callback(tun.close)
        stack.callback(outbound.close)
        flood = Flood(flows, SIZES[sizes])
        before = [0]

        def is_forwarded() -> bool:
            """Whether most of a window has left, and has not passed the TUN's file."""
            now = outbound.read(SENT_PACKETS) - tun.read(SENT_PACKETS)
            before[0], forwarded = now, now - before[0]
            return forwarded >= WINDOW * 9 // 10 or not FORWARDS

        is_forwarded()
        send_until(flood, is_forwarded)
        arrived = flood.arrived()
        assert arrived == [sorted(numbers) for numbers in arrived]
