"""The control server against well-behaved and misbehaving clients."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from router.control.connection import LONGEST_REQUEST, Answer
from router.control.server import CHECK_INTERVAL, MOST_CLIENTS, PATIENCE, Server
from tests.unit.control.rounds import Rounds

ENOUGH = 20
"""Rounds for any short exchange."""
LATE = int(PATIENCE + 2 * CHECK_INTERVAL)
PIECE = b"x" * 4096
PIECES = 1000


class World:
    """A server with the commands echo (the request comes back), long (PIECES pieces, counted in
    `made`) and later (answered by the test: `pending`)."""

    def __init__(self, directory: Path) -> None:
        self.rounds = Rounds()
        self.made = 0
        self.pending: list[Answer] = []
        self._path = str(directory / "socket")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(self._path)
        listener.listen()
        listener.setblocking(False)
        self._clients: list[socket.socket] = []
        commands = {"echo": self._echo, "long": self._long, "later": self.pending.append}
        self._server = Server(listener, self.rounds, commands)

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._clients.append(client)
        client.connect(self._path)
        client.setblocking(False)
        return client

    def client(self, request: bytes, rounds: int = ENOUGH) -> socket.socket:
        """A client that has sent `request`."""
        client = self.connect()
        client.sendall(request)
        self.rounds.run(rounds)
        return client

    def answer(self, request: bytes) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(everything(self.client(request)))
        return answer

    def stop(self) -> None:
        self._server.close()

    def close(self) -> None:
        self.stop()
        for client in self._clients:
            client.close()

    def _echo(self, answer: Answer) -> None:
        answer.reply([json.dumps(answer.request).encode()])

    def _long(self, answer: Answer) -> None:
        answer.reply(self._pieces())

    def _pieces(self) -> Iterator[bytes]:
        for _ in range(PIECES):
            self.made += 1
            yield PIECE


def everything(client: socket.socket) -> bytes:
    """All data sent to the client; the connection must have ended. It ends with a reset when the
    server has not read everything that the client sent."""
    received = b""
    try:
        while piece := client.recv(1 << 16):
            received += piece
    except ConnectionResetError:
        pass
    return received


def still_open(client: socket.socket) -> bool:
    try:
        client.recv(1)
    except BlockingIOError:
        return True
    return False


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


def test_a_request_is_answered(world: World) -> None:
    assert world.answer(b'{"command": "echo", "n": 1}\n') == {"command": "echo", "n": 1}


def test_a_request_may_come_in_parts(world: World) -> None:
    client = world.client(b'{"command": ')
    assert still_open(client)
    client.sendall(b'"echo"}\n')
    world.rounds.run(ENOUGH)
    assert json.loads(everything(client)) == {"command": "echo"}


def test_the_longest_request_is_taken_and_a_longer_one_is_not(world: World) -> None:
    head, tail = b'{"command": "echo", "x": "', b'"}\n'
    room = LONGEST_REQUEST - len(head) - len(tail)
    assert len(world.answer(head + b"a" * room + tail)["x"]) == room
    assert "longer than 4096 bytes" in world.answer(head + b"a" * (room + 1) + tail)["error"]
    assert "longer than 4096 bytes" in world.answer(b"a" * 100_000)["error"]


@pytest.mark.parametrize(
    ("request_line", "why"),
    [
        (b"\n", "not a JSON object"),
        (b"status\n", "not a JSON object"),
        (b"[1, 2]\n", "not a JSON object"),
        (b"\xff\xfe\x00\n", "not a JSON object"),
        (b"[" * 4000 + b"\n", "not a JSON object"),
        (b"{}\n", "no command null; this router has: echo, later, long"),
        (b'{"command": "ehco"}\n', 'no command "ehco"'),
        (b'{"command": ["echo"]}\n', 'no command ["echo"]'),
        (b'{"command": "echo"}\n{"command": "echo"}\n', "one request a connection"),
    ],
)
def test_invalid_requests_are_refused_with_a_reason(
    world: World, request_line: bytes, why: str
) -> None:
    assert why in world.answer(request_line)["error"]
    assert world.answer(b'{"command": "echo"}\n'), "others are answered as before"


def test_half_a_request_and_the_end(world: World) -> None:
    client = world.connect()
    client.sendall(b'{"command": "echo"}')
    client.shutdown(socket.SHUT_WR)
    world.rounds.run(ENOUGH)
    assert "ended before its line" in json.loads(everything(client))["error"]


def test_half_open_clients(world: World) -> None:
    """One that has nothing more to say gets all of its answer; one that reads no more costs
    nothing."""
    client = world.connect()
    client.sendall(b'{"command": "later"}\n')
    client.shutdown(socket.SHUT_WR)
    world.rounds.run(ENOUGH)
    world.pending[0].reply([b"1", b"2"])
    world.rounds.run(ENOUGH)
    assert everything(client) == b"12"
    client = world.connect()
    client.sendall(b'{"command": "long"}\n')
    client.shutdown(socket.SHUT_RD)
    world.rounds.run(ENOUGH)
    assert world.made <= 1
    assert everything(client) == b""


def test_descriptors_that_a_client_passes_are_not_kept(world: World) -> None:
    """SCM_RIGHTS: they would take those of connections."""
    read, write = os.pipe()
    os.set_blocking(read, False)
    client = world.connect()
    socket.send_fds(client, [b'{"command": "echo"}\n'], [write] * 64)
    os.close(write)
    world.rounds.run(ENOUGH)
    assert json.loads(everything(client)) == {"command": "echo"}
    assert os.read(read, 1) == b"", "no copy is open"
    os.close(read)


def test_a_client_without_a_request_is_disconnected(world: World) -> None:
    silent = world.client(b"")
    trickling = world.client(b"{")
    for _ in range(LATE):
        assert still_open(silent) == (world.rounds.now - 100 < PATIENCE)
        if still_open(trickling):
            trickling.sendall(b" ")
        world.rounds.wait(1)
    assert everything(silent) == b""
    assert everything(trickling) == b"", "single bytes do not restart the timeout"


def test_more_clients_than_the_limit(world: World) -> None:
    first = [world.client(b"") for _ in range(MOST_CLIENTS)]
    refused = world.client(b"")
    assert "8 others are asking" in json.loads(everything(refused))["error"]
    assert all(still_open(client) for client in first)
    first.pop().close()
    world.rounds.run()
    assert world.answer(b'{"command": "echo"}\n')


def test_a_slow_reader_delays_one_piece_and_no_other_client(world: World) -> None:
    slow = world.client(b'{"command": "long"}\n', rounds=500)
    made = world.made
    assert made < PIECES
    world.rounds.run(500)
    assert world.made == made, "nothing more is made before it is read"
    assert world.answer(b'{"command": "echo"}\n')
    received = b""
    while len(received) < PIECES * len(PIECE):
        received += slow.recv(1 << 16)
        world.rounds.run(ENOUGH)
    assert (received + everything(slow), world.made) == (PIECE * PIECES, PIECES)


def test_one_piece_in_a_round(world: World) -> None:
    client = world.client(b'{"command": "long"}\n', rounds=1)
    for _ in range(10):
        before = world.made
        world.rounds.run()
        assert world.made <= before + 1
    assert still_open(client) is False, "the first pieces have arrived"


def test_a_client_that_reads_nothing_is_disconnected(world: World) -> None:
    client = world.client(b'{"command": "long"}\n', rounds=500)
    world.rounds.wait(LATE)
    assert 0 < len(everything(client)) < PIECES * len(PIECE)


def test_a_client_that_disconnects_during_its_answer(world: World) -> None:
    client = world.client(b'{"command": "long"}\n', rounds=5)
    client.close()
    world.rounds.run(ENOUGH)
    made = world.made
    world.rounds.run(ENOUGH)
    assert world.made == made < PIECES
    assert world.answer(b'{"command": "echo"}\n')


def test_an_answer_may_come_later(world: World) -> None:
    client = world.client(b'{"command": "later"}\n')
    world.rounds.wait(10 * LATE)
    assert still_open(client), "the time-out does not apply while the answer is pending"
    world.pending[0].reply([b"1", b"", b"2"])
    world.rounds.run(ENOUGH)
    assert everything(client) == b"12"


def test_an_answer_to_a_disconnected_client(world: World) -> None:
    client = world.client(b'{"command": "later"}\n')
    client.close()
    world.rounds.run(ENOUGH)
    world.pending[0].reply([b"1"])
    world.rounds.run(ENOUGH)
    assert world.answer(b'{"command": "echo"}\n')


def test_all_clients_are_disconnected_when_the_router_stops(world: World) -> None:
    clients = [world.client(b""), world.client(b'{"command": "later"}\n')]
    world.stop()
    assert [everything(client) for client in clients] == [b"", b""]
    world.pending[0].reply([b"1"])


def test_without_descriptors_it_waits_instead_of_spinning(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = 0

    class Exhausted:
        def __getattr__(self, name: str) -> Any:
            return getattr(listener, name)

        def accept(self) -> Any:
            nonlocal attempts
            attempts += 1
            raise OSError(24, "Too many open files")

    listener = world._server._listener
    monkeypatch.setattr(world._server, "_listener", Exhausted())
    world._server._accept()
    client = world.client(b'{"command": "echo"}\n')
    assert attempts == 1
    monkeypatch.undo()
    world.rounds.wait(LATE)
    assert json.loads(everything(client)) == {"command": "echo"}
