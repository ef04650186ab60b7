"""Urgent bytes through a relay, with real epoll events and sockets."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest

from router.platform.base.descriptors import READABLE, URGENT
from router.platform.linux.poller import LinuxPoller
from router.platform.linux.tcp import is_at_mark
from tests.unit.outbound.test_relay import Bench


class UrgentBench(Bench):
    """A bench whose relay receives the events of a poller only."""

    def __init__(self, splicing: bool) -> None:
        super().__init__(splicing, is_at_mark)
        for sock in (self.inner, self.outer):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        self.poller = LinuxPoller()
        self.changed = {
            self.inner.fileno(): self.relay.inner_changed,
            self.outer.fileno(): self.relay.outer_changed,
        }
        for descriptor in self.changed:
            self.poller.add_changes(descriptor)

    def turn(self) -> None:
        for descriptor, event in self.poller.wait(0):
            self.changed[descriptor](event)
        due, self.soon[:] = self.soon[:], []
        for callback in due:
            callback()

    def close(self) -> None:
        self.poller.close()
        super().close()

    def received(self, sock: socket.socket, end: bytes) -> bytes:
        """What arrives at `sock` up to `end`."""
        stream = b""
        while not stream.endswith(end):
            self.turn()
            with suppress(BlockingIOError):
                stream += sock.recv(100)
        return stream


@pytest.fixture(params=[True, False], ids=["pipes", "buffers"])
def bench(request: pytest.FixtureRequest) -> Iterator[UrgentBench]:
    made = UrgentBench(request.param)
    yield made
    made.close()


@pytest.mark.parametrize("side", ["client", "server"])
def test_an_urgent_byte_stays_urgent_and_where_it_is(bench: UrgentBench, side: str) -> None:
    source, sink = (
        (bench.client, bench.server) if side == "client" else (bench.server, bench.client)
    )
    for number in range(3):
        before, after = b"before %d," % number, b"after %d;" % number
        source.send(before)
        source.send(b"!", socket.MSG_OOB)
        source.send(after)
        urgent = b""
        while not urgent:
            bench.turn()
            with suppress(OSError):
                urgent = sink.recv(1, socket.MSG_OOB)
        assert urgent == b"!"
        assert bench.received(sink, before) == before
        assert is_at_mark(sink)
        assert bench.received(sink, after) == after


@pytest.mark.parametrize("side", ["client", "server"])
def test_an_urgent_byte_without_anything_around_it(bench: UrgentBench, side: str) -> None:
    source, sink = (
        (bench.client, bench.server) if side == "client" else (bench.server, bench.client)
    )
    sink.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    source.send(b"!", socket.MSG_OOB)
    assert bench.received(sink, b"!") == b"!"


def test_the_end_is_behind_an_urgent_byte_that_was_not_noticed(bench: UrgentBench) -> None:
    """It arrived after the poller's report; splice(2) takes it for the end then."""
    bench.server.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    bench.client.send(b"before")
    bench.client.send(b"!", socket.MSG_OOB)
    bench.client.send(b"after")
    bench.client.shutdown(socket.SHUT_WR)
    bench.relay.inner_changed(READABLE)
    while bench.soon:
        bench.soon.pop()()
    assert bench.received(bench.server, b"after") == b"before!after"


def test_an_event_about_a_relayed_urgent_byte_makes_no_other_byte_urgent(
    bench: UrgentBench,
) -> None:
    bench.client.send(b"all of this is ordinary")
    bench.relay.inner_changed(URGENT)
    assert bench.received(bench.server, b"ordinary") == b"all of this is ordinary"
    bench.client.send(b", and this")
    bench.relay.inner_changed(URGENT)
    assert bench.received(bench.server, b"this") == b", and this"
    with pytest.raises(OSError, match="Invalid argument"):
        bench.server.recv(1, socket.MSG_OOB)
