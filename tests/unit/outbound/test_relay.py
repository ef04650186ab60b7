"""Two real sockets relayed as one connection: by pipes and by buffers."""

from __future__ import annotations

import errno
import random
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

import pytest

from router.outbound.buffers import LEFT_TO_FLOWS, BufferPool, MemoryBuffer
from router.outbound.descriptors import Descriptors
from router.outbound.relay import DecideEnd, End, Relay
from router.platform.base.descriptors import BROKEN, ENDED, READABLE, WRITABLE
from router.platform.tcp_socket import reset_on_close

SPLICING = [True, False] if sys.platform == "linux" else [False]
ANYTHING = READABLE | WRITABLE


def connection() -> tuple[socket.socket, socket.socket]:
    """Both ends of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        other, _ = listener.accept()
    for sock in (one, other):
        sock.setblocking(False)
    return one, other


if sys.platform == "linux":
    from router.platform.linux.splice_pipe import SplicePipe
else:
    SplicePipe = partial(MemoryBuffer, lambda _: False)


class Bench:
    """client — inner [relay] outer — server."""

    def __init__(
        self,
        splicing: bool,
        is_at_mark: Callable[[socket.socket], bool] = lambda _: False,
        decide_end: DecideEnd | None = None,
    ) -> None:
        self.client, self.inner = connection()
        self.outer, self.server = connection()
        self.ends: list[End] = []
        self.soon: list[Callable[[], None]] = []
        self.descriptors = Descriptors(1000)
        open_pipe = SplicePipe if splicing else None
        self.pool = BufferPool(self.descriptors, open_pipe, is_at_mark)
        self.relay = Relay(
            *(self.inner, self.outer, self.pool, self.ends.append, self.soon.append, decide_end)
        )

    def turn(self) -> None:
        """As the loop does when all sockets have changed."""
        if not self.ends:
            self.relay.inner_changed(ANYTHING)
        if not self.ends:
            self.relay.outer_changed(ANYTHING)
        due, self.soon[:] = self.soon[:], []
        for callback in due:
            callback()

    def close(self) -> None:
        for sock in (self.client, self.inner, self.outer, self.server):
            sock.close()
        self.pool.close()

    def pump(self, source: socket.socket, sink: socket.socket, data: bytes) -> bytes:
        """What arrives at `sink` when `source` sends `data` and ends."""
        tcp_info, sent, ended = bytearray(), 0, False
        while True:
            with suppress(BlockingIOError):
                if sent < len(data):
                    sent += source.send(data[sent : sent + 70_001])
                elif not ended:
                    source.shutdown(socket.SHUT_WR)
                    ended = True
            self.turn()
            with suppress(BlockingIOError):
                piece = sink.recv(50_003)
                if not piece:
                    return bytes(tcp_info)
                tcp_info += piece


@pytest.fixture(params=SPLICING, ids=["pipes", "buffers"][: len(SPLICING)])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    made = Bench(request.param)
    yield made
    made.close()


def test_everything_arrives_both_ways_and_ends(bench: Bench) -> None:
    up, down = random.Random(1).randbytes(3_000_000), random.Random(2).randbytes(3_000_000)
    assert bench.pump(bench.client, bench.server, up) == up
    assert bench.ends == []
    assert bench.pump(bench.server, bench.client, down) == down
    assert bench.ends == [End.CLOSED]
    assert bench.inner.fileno() == bench.outer.fileno() == -1


def test_a_half_close_that_is_reported_as_broken_is_none(bench: Bench) -> None:
    """As kqueue reports a socket that was shut down for sending (kern/uipc_socket.c,
    filt_sowrite_common)."""
    bench.client.shutdown(socket.SHUT_WR)
    while not bench.relay._outward.ended:
        bench.turn()
    for _ in range(3):
        bench.relay.outer_changed(WRITABLE | BROKEN)
    assert bench.ends == []
    assert bench.pump(bench.server, bench.client, b"an answer") == b"an answer"
    assert bench.ends == [End.CLOSED]


def test_an_idle_relay_holds_no_buffer(bench: Bench) -> None:
    bench.client.send(b"hello")
    bench.turn()
    assert not bench.relay._outward.is_held_up
    assert not bench.relay._inward.is_held_up


def test_a_full_sink_stops_its_source(bench: Bench) -> None:
    data = bytes(1 << 16)
    sent = refused = 0
    while refused < 100:
        try:
            sent += bench.client.send(data)
            refused = 0
        except BlockingIOError:
            refused += 1
            bench.turn()
    assert bench.relay._outward.is_held_up
    assert bench.soon == [], "nothing is scheduled before the sink has room"
    tcp_info = 0
    while tcp_info < sent:
        with suppress(BlockingIOError):
            tcp_info += len(bench.server.recv(1 << 20))
        bench.turn()
    assert not bench.relay._outward.is_held_up


@pytest.mark.parametrize("side", ["client", "server"])
def test_a_reset_is_passed_on_behind_the_data(bench: Bench, side: str) -> None:
    source, sink = (
        (bench.client, bench.server) if side == "client" else (bench.server, bench.client)
    )
    source.send(b"last words")
    reset_on_close(source)
    source.close()
    while not bench.ends:
        bench.turn()
    assert bench.ends == [End.INNER_BROKE if side == "client" else End.OUTER_BROKE]
    assert sink.recv(100) == b"last words"
    with pytest.raises(ConnectionResetError):
        sink.recv(100)


def test_a_reset_noticed_by_writing_flushes_the_other_direction(bench: Bench) -> None:
    bench.server.send(b"answer")
    reset_on_close(bench.server)
    bench.server.close()
    bench.client.send(b"question")
    bench.relay.inner_changed(READABLE)
    while not bench.ends:
        bench.relay.outer_changed(BROKEN)
    assert bench.client.recv(100) == b"answer"
    with pytest.raises(ConnectionResetError):
        bench.client.recv(100)


@pytest.mark.parametrize("side", ["client", "server"])
def test_a_reset_after_a_half_close_is_passed_on(bench: Bench, side: str) -> None:
    """Nothing can be read any more from the side that resets, and nothing is being sent to it."""
    source, sink, changed = (
        (bench.client, bench.server, bench.relay.inner_changed)
        if side == "client"
        else (bench.server, bench.client, bench.relay.outer_changed)
    )
    assert bench.pump(source, sink, b"all there is to send") == b"all there is to send"
    changed(BROKEN)
    assert bench.ends == [], "its socket reports no error"
    reset_on_close(source)
    source.close()
    changed(BROKEN)
    assert bench.ends == [End.INNER_BROKE if side == "client" else End.OUTER_BROKE]
    assert sink.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.EPIPE
    assert bench.inner.fileno() == bench.outer.fileno() == -1


def test_a_write_to_a_closed_socket_is_reset(bench: Bench) -> None:
    bench.client.close()
    bench.turn()
    assert bench.server.recv(1) == b""
    bench.server.send(b"too late")
    bench.relay.outer_changed(READABLE)
    bench.relay.inner_changed(BROKEN)
    assert bench.ends == [End.INNER_BROKE]
    assert bench.server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.EPIPE


def test_ending_a_relay_resets_both(bench: Bench) -> None:
    bench.relay.reset()
    bench.relay.reset()
    assert bench.ends == [End.OUTER_BROKE]
    for sock in (bench.client, bench.server):
        with pytest.raises(ConnectionResetError):
            sock.recv(1)


def test_without_descriptors_a_buffer_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pipe is available: the bytes go through memory."""

    def none_left(flags: int) -> tuple[int, int]:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("os.pipe2", none_left, raising=False)
    bench = Bench(splicing=True)
    try:
        assert bench.pump(bench.client, bench.server, b"x" * 100_000) == b"x" * 100_000
    finally:
        bench.close()


def test_pipes_are_taken_from_the_budget_and_returned() -> None:
    bench = Bench(splicing=True)
    left = bench.descriptors.limit // LEFT_TO_FLOWS
    bench.descriptors.others = bench.descriptors.free - left - 3
    try:
        one, other = bench.pool.borrow(), bench.pool.borrow()
        taken = 2 if sys.platform == "linux" else 0
        assert isinstance(other, MemoryBuffer)
        assert bench.descriptors.free == left + 3 - taken
        one.held = 1  # it is in use, so it is no spare one
        bench.pool.give_back(one)
        bench.pool.give_back(other)
        assert bench.descriptors.free == left + 3
    finally:
        bench.close()
    assert bench.descriptors.free == left + 3


def test_spare_pipes_stay_in_the_budget_until_the_end(bench: Bench) -> None:
    free = bench.descriptors.free
    assert bench.pump(bench.client, bench.server, b"x" * 100_000) == b"x" * 100_000
    bench.pool.close()
    assert bench.descriptors.free == free


@pytest.mark.parametrize("splicing", SPLICING)
@pytest.mark.parametrize("is_reset", [True, False])
def test_an_end_before_a_byte_waits_for_its_verdict(splicing: bool, is_reset: bool) -> None:
    decisions: list[Callable[[bool], None]] = []
    bench = Bench(splicing, decide_end=decisions.append)
    bench.client.send(b"hello")
    bench.server.shutdown(socket.SHUT_WR)
    bench.turn()
    bench.turn()
    assert bench.server.recv(100) == b"hello", "the other direction goes on meanwhile"
    with pytest.raises(BlockingIOError):
        bench.client.recv(1)
    (tell,) = decisions
    tell(is_reset)
    bench.turn()
    if is_reset:
        with pytest.raises(ConnectionResetError):
            bench.client.recv(1)
        assert bench.ends == [End.OUTER_BROKE]
    else:
        assert bench.client.recv(1) == b""
        assert not bench.ends
    bench.close()


@pytest.mark.parametrize("splicing", SPLICING)
def test_an_end_behind_bytes_is_passed_on_at_once(splicing: bool) -> None:
    bench = Bench(splicing, decide_end=lambda _: pytest.fail("it is no matter of the proxy's"))
    bench.server.send(b"bye")
    bench.server.shutdown(socket.SHUT_WR)
    bench.turn()
    bench.turn()
    assert bench.client.recv(100) == b"bye"
    assert bench.client.recv(1) == b""
    bench.close()


def test_without_pipes_an_urgent_byte_is_found_that_nothing_has_reported() -> None:
    """At the mark alone a byte is read by itself, and sent as an urgent one."""

    def is_at_mark(sock: socket.socket) -> bool:
        with suppress(BlockingIOError):
            return sock.recv(1, socket.MSG_PEEK) == b"!"
        return False

    bench = Bench(splicing=False, is_at_mark=is_at_mark)
    bench.client.send(b"!after")
    for _ in range(3):
        bench.turn()
    assert bench.server.recv(1, socket.MSG_OOB) == b"!"
    assert bench.server.recv(10) == b"after"
    bench.close()


@pytest.mark.parametrize("has_pipes", SPLICING)
def test_a_byte_that_comes_while_a_buffer_is_filled_stays_urgent(
    monkeypatch: pytest.MonkeyPatch, has_pipes: bool
) -> None:
    """Behind the question whether one is there, and before the reading. So it is without pipes, and
    where descriptors are short."""
    is_sent = False

    def is_at_mark(sock: socket.socket) -> bool:
        nonlocal is_sent
        if is_in_line(sock):
            return sock.recv(1, socket.MSG_PEEK) == b"!"
        if not is_sent:
            is_sent = True
            arrive(made.client, sock, b"!", socket.MSG_OOB)
        return False

    made = Bench(has_pipes, is_at_mark)
    monkeypatch.setattr(made.descriptors, "take", lambda *_, **__: False)
    made.inner.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    arrive(made.client, made.inner, b"before")
    for _ in range(3):
        report(made, READABLE)
    if not is_sent:
        arrive(made.client, made.inner, b"!", socket.MSG_OOB)
    report(made, READABLE)
    assert received(made.server, 6) == b"before"
    assert made.server.recv(1, socket.MSG_OOB) == b"!"
    made.close()


def arrive(sender: socket.socket, receiver: socket.socket, data: bytes, flags: int = 0) -> None:
    """Send `data`, and wait until it stands behind all that has been read."""
    sender.send(data, flags)
    receiver.setblocking(True)
    receiver.recv(1, socket.MSG_PEEK)
    receiver.setblocking(False)


def is_in_line(sock: socket.socket) -> bool:
    """Whether there is a byte to be read."""
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False


def report(bench: Bench, event: int) -> None:
    """Of the inner socket, and what follows of it."""
    bench.relay.inner_changed(event)
    while bench.soon:
        bench.soon.pop()()


def test_one_report_moves_what_came_in_many_small_segments(bench: Bench) -> None:
    """More of them than a pipe has slots."""
    bench.client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for _ in range(2000):
        bench.client.send(b"x")
    bench.inner.setblocking(True)
    while len(bench.inner.recv(2000, socket.MSG_PEEK)) < 2000:
        pass
    bench.inner.setblocking(False)
    report(bench, READABLE)
    assert len(received(bench.server, 2000)) == 2000


def test_the_end_behind_a_few_bytes_needs_no_report_of_its_own(bench: Bench) -> None:
    bench.client.send(b"x")
    bench.client.shutdown(socket.SHUT_WR)
    bench.inner.setblocking(True)
    assert bench.inner.recv(1, socket.MSG_PEEK) == b"x"
    bench.inner.setblocking(False)
    report(bench, READABLE | ENDED)
    assert received(bench.server, 2) == b"x"
    assert bench.relay._outward.ended


@pytest.mark.parametrize("splicing", SPLICING)
def test_a_pipe_that_a_few_bytes_were_moved_by_does_not_read_again(splicing: bool) -> None:
    """It says how many bytes cannot have been all."""
    bench = Bench(splicing)
    bench.client.send(b"x")
    bench.relay.inner_changed(READABLE)
    assert bool(bench.soon) != splicing
    assert received(bench.server, 1) == b"x"
    bench.close()


def received(sock: socket.socket, size: int) -> bytes:
    """So many bytes, fewer where the end comes before."""
    sock.setblocking(True)
    data = b""
    while len(data) < size and (some := sock.recv(size - len(data))):
        data += some
    return data
