"""Clients that follow: lines at an interval or as events, and what a slow one misses."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from router.control.connection import Answer
from router.control.follow import MOST_WAITING, at_interval, bad_interval, of_events
from router.control.protocol import VERSION, refusal
from router.control.server import (
    FOLLOWER_PATIENCE,
    MOST_CLIENTS,
    MOST_FOLLOWERS,
    PATIENCE,
    Server,
)
from tests.unit.control.rounds import Rounds

ENOUGH = 20
LONG = "x" * 10_000

Lines = list[dict[str, Any]]


class MemoryEvents:
    """See router.control.follow.Events."""

    def __init__(self) -> None:
        self.subscribers: list[Callable[[Mapping[str, Any]], None]] = []
        self.subscribe, self.unsubscribe = self.subscribers.append, self.subscribers.remove

    def emit(self, **members: Any) -> None:
        for take in self.subscribers:
            take(members)


class World:
    """A server with the commands count (a number at an interval of 2 s), events, and once."""

    def __init__(self, directory: Path) -> None:
        self.rounds = Rounds()
        self.events = MemoryEvents()
        self.made = 0
        self.text = ""
        self._path = str(directory / "socket")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(self._path)
        listener.listen(MOST_CLIENTS + MOST_FOLLOWERS)
        listener.setblocking(False)
        self._clients: list[socket.socket] = []
        commands = {
            "count": self._count,
            "events": lambda answer: answer.follow(partial(of_events, self.events)),
            "once": lambda answer: answer.reply([b"{}\n"]),
        }
        self.server = Server(listener, self.rounds, commands)

    def client(self, command: str, version: int | None = VERSION) -> socket.socket:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._clients.append(client)
        client.connect(self._path)
        client.setblocking(False)
        request = {"command": command} | ({} if version is None else {"version": version})
        client.sendall(json.dumps(request).encode() + b"\n")
        self.rounds.run(ENOUGH)
        return client

    def close(self) -> None:
        self.server.close()
        for client in self._clients:
            client.close()

    def _count(self, answer: Answer) -> None:
        answer.follow(partial(at_interval, self._pieces, 2.0, self.rounds))

    def _pieces(self) -> Iterator[bytes]:
        self.made += 1
        yield b'{"count": %d, ' % self.made
        yield b""
        yield b'"text": "%b"}\n' % self.text.encode()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.close()


def lines(world: World, client: socket.socket) -> Lines:
    """What has been sent so far."""
    received = b""
    while True:
        world.rounds.run(ENOUGH)
        try:
            piece = client.recv(1 << 20)
        except BlockingIOError:
            break
        if not piece:
            break
        received += piece
    assert not received or received.endswith(b"\n")
    return [json.loads(line) for line in received.splitlines()]


def is_open(client: socket.socket) -> bool:
    try:
        return bool(client.recv(1 << 20))
    except BlockingIOError:
        return True


def test_an_answer_at_once_and_at_each_interval(world: World) -> None:
    client = world.client("count")
    assert [line["count"] for line in lines(world, client)] == [1]
    world.rounds.wait(1)
    assert lines(world, client) == []
    for number in (2, 3, 4):
        world.rounds.wait(2)
        assert [line["count"] for line in lines(world, client)] == [number]


def test_a_slow_follower_is_told_what_it_has_missed(world: World) -> None:
    world.text = LONG * 100
    client = world.client("count")
    world.rounds.wait(9)
    assert world.made == 1, "nothing is made that is not read"
    first, lost, second = lines(world, client)
    assert (first["count"], lost, second["count"]) == (1, {"lost": 3}, 2)


def test_events(world: World) -> None:
    client = world.client("events")
    assert lines(world, client) == []
    world.events.emit(event="policy", state="up")
    world.events.emit(event="policy", state="down")
    assert [line["state"] for line in lines(world, client)] == ["up", "down"]
    world.rounds.wait(int(10 * FOLLOWER_PATIENCE))
    world.events.emit(event="policy", state="up")
    assert [line["state"] for line in lines(world, client)] == ["up"], "silence ends nothing"


def test_events_that_a_slow_follower_has_missed(world: World) -> None:
    client = world.client("events")
    total = 10 * MOST_WAITING
    for number in range(total):
        world.events.emit(number=number, text=LONG)
        world.rounds.run()
    found = lines(world, client)
    seen = [line["number"] for line in found if "number" in line]
    missed = sum(line.get("lost", 0) for line in found)
    assert seen == sorted(seen)
    assert (len(seen) + missed, "lost" in found[-1]) == (total, True)
    assert MOST_WAITING <= len(seen) < total
    world.events.emit(number=total)
    assert lines(world, client) == [{"number": total}]


def test_lost_lines_stand_where_they_were_lost(world: World) -> None:
    feed = of_events(world.events, lambda: None)
    assert next(feed) is None
    for number in range(MOST_WAITING + 2):
        world.events.emit(number=number)
    taken = [next(feed) for _ in range(3)]
    world.events.emit(number="after")
    rest = [
        json.loads(line) for line in taken + [next(feed) for _ in range(MOST_WAITING - 1)] if line
    ]
    assert rest[-2:] == [{"lost": 2}, {"number": "after"}]
    assert next(feed) is None


def test_a_follower_that_leaves_is_forgotten(world: World) -> None:
    client = world.client("events")
    assert len(world.events.subscribers) == 1
    client.close()
    world.rounds.run(ENOUGH)
    assert world.events.subscribers == []


def test_followers_end_with_the_router(world: World) -> None:
    client = world.client("events")
    world.server.close()
    assert world.events.subscribers == []
    assert client.recv(1) == b""


def test_a_follower_that_reads_nothing_is_disconnected_at_last(world: World) -> None:
    world.text = LONG * 100
    client = world.client("count")
    world.rounds.wait(int(3 * PATIENCE))
    assert is_open(client)
    world.text = LONG * 100
    world.rounds.wait(int(2 * FOLLOWER_PATIENCE))
    while (piece := client.recv(1 << 20)) != b"":
        assert piece


def test_followers_take_no_place_of_others(world: World) -> None:
    followers = [world.client("events") for _ in range(MOST_FOLLOWERS)]
    (refused,) = lines(world, world.client("events"))
    assert "8 others are following already" in refused["error"]
    assert all(map(is_open, followers))
    assert lines(world, world.client("once")) == [{}]
    followers.pop().close()
    assert is_open(world.client("events"))


def test_a_client_that_is_too_old_to_follow(world: World) -> None:
    for version in (None, 1):
        (refused,) = lines(world, world.client("events", version))
        assert "the client is older than the router" in refused["error"]
        assert lines(world, world.client("once", version)) == [{}], "what it knows is answered"


def test_a_client_that_is_newer(world: World) -> None:
    (refused,) = lines(world, world.client("once", VERSION + 1))
    assert "the command is newer than the router; restart the router" in refused["error"]
    assert refused["version"] == VERSION


@pytest.mark.parametrize("version", ["2", None, True, 0, -1, 2.5])
def test_versions_that_are_none(version: object) -> None:
    assert "is a number, from 1 to" in (refusal({"version": version}) or "")


@pytest.mark.parametrize("interval", ["1", None, True, 0, 0.01, 4000, [1], float("nan")])
def test_intervals_that_cannot_be_had(interval: object) -> None:
    assert "it is seconds, from 0.1 to 3600" in (bad_interval(interval) or "")


@pytest.mark.parametrize("interval", [0.1, 1, 2.5, 3600])
def test_intervals(interval: float) -> None:
    assert bad_interval(interval) is None


def test_recent_events_come_first_and_no_more_than_are_kept() -> None:
    events = MemoryEvents()
    recent = [{"number": number} for number in range(MOST_WAITING + 3)]
    feed = of_events(events, lambda: None, recent)
    found = [json.loads(next(feed) or b"null") for _ in range(MOST_WAITING)]
    assert found == recent[3:]
    assert next(feed) is None
    events.emit(number="new")
    assert json.loads(next(feed) or b"null") == {"number": "new"}
    feed.close()
    assert events.subscribers == []
