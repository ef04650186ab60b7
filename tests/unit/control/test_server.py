"""The server of the control socket against clients of every kind."""

from __future__ import annotations

import json
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
    `made`) and later (answered when the test says so: `owed`)."""

    def __init__(self, directory: Path) -> None:
        self.rounds = Rounds()
        self.made = 0
        self.owed: list[Answer] = []
        self._path = str(directory / "socket")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(self._path)
        listener.listen()
        listener.setblocking(False)
        self._clients: list[socket.socket] = []
        commands = {"echo": self._echo, "long": self._long, "later": self.owed.append}
        self._server = Server(listener, self.rounds, commands)

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._clients.append(client)
        client.connect(self._path)
        client.setblocking(False)
        return client

    def asked(self, request: bytes, rounds: int = ENOUGH) -> socket.socket:
        """A client that has sent something."""
        client = self.connect()
        client.sendall(request)
        self.rounds.run(rounds)
        return client

    def answer(self, request: bytes) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(everything(self.asked(request)))
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
    """What the client has been sent; the connection must have ended. A reset behind the answer is
    what a client gets that has not let us read all it sent."""
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
    client = world.asked(b'{"command": ')
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
def test_what_makes_no_sense_is_refused_with_a_reason(
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


def test_a_client_that_asks_nothing_is_sent_away(world: World) -> None:
    silent = world.asked(b"")
    trickling = world.asked(b"{")
    for _ in range(LATE):
        assert still_open(silent) == (world.rounds.now - 100 < PATIENCE)
        if still_open(trickling):
            trickling.sendall(b" ")
        world.rounds.wait(1)
    assert everything(silent) == b""
    assert everything(trickling) == b"", "single bytes are no step"


def test_more_clients_than_there_may_be(world: World) -> None:
    first = [world.asked(b"") for _ in range(MOST_CLIENTS)]
    refused = world.asked(b"")
    assert "8 others are asking" in json.loads(everything(refused))["error"]
    assert all(still_open(client) for client in first)
    first.pop().close()
    world.rounds.run()
    assert world.answer(b'{"command": "echo"}\n')


def test_a_slow_reader_keeps_one_piece_waiting_and_nobody_else(world: World) -> None:
    slow = world.asked(b'{"command": "long"}\n', rounds=500)
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
    client = world.asked(b'{"command": "long"}\n', rounds=1)
    for _ in range(10):
        before = world.made
        world.rounds.run()
        assert world.made <= before + 1
    assert still_open(client) is False, "the first pieces are there"


def test_a_client_that_reads_nothing_is_sent_away(world: World) -> None:
    client = world.asked(b'{"command": "long"}\n', rounds=500)
    world.rounds.wait(LATE)
    assert 0 < len(everything(client)) < PIECES * len(PIECE)


def test_a_client_that_leaves_in_the_middle_of_its_answer(world: World) -> None:
    client = world.asked(b'{"command": "long"}\n', rounds=5)
    client.close()
    world.rounds.run(ENOUGH)
    made = world.made
    world.rounds.run(ENOUGH)
    assert world.made == made < PIECES
    assert world.answer(b'{"command": "echo"}\n')


def test_an_answer_may_come_later(world: World) -> None:
    client = world.asked(b'{"command": "later"}\n')
    world.rounds.wait(10 * LATE)
    assert still_open(client), "it is we who owe the answer"
    world.owed[0].reply([b"1", b"", b"2"])
    world.rounds.run(ENOUGH)
    assert everything(client) == b"12"


def test_an_answer_to_nobody(world: World) -> None:
    client = world.asked(b'{"command": "later"}\n')
    client.close()
    world.rounds.run(ENOUGH)
    world.owed[0].reply([b"1"])
    world.rounds.run(ENOUGH)
    assert world.answer(b'{"command": "echo"}\n')


def test_all_are_left_when_the_router_stops(world: World) -> None:
    clients = [world.asked(b""), world.asked(b'{"command": "later"}\n')]
    world.stop()
    assert [everything(client) for client in clients] == [b"", b""]
    world.owed[0].reply([b"1"])


def test_without_descriptors_it_waits_instead_of_spinning(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0

    class Exhausted:
        def __getattr__(self, name: str) -> Any:
            return getattr(listener, name)

        def accept(self) -> Any:
            nonlocal asked
            asked += 1
            raise OSError(24, "Too many open files")

    listener = world._server._listener
    monkeypatch.setattr(world._server, "_listener", Exhausted())
    world._server._accept()
    client = world.asked(b'{"command": "echo"}\n')
    assert asked == 1
    monkeypatch.undo()
    world.rounds.wait(LATE)
    assert json.loads(everything(client)) == {"command": "echo"}
