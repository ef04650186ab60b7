"""The connector and the server's end of it: one request at a time over a stream, descriptors that
stay open until they are acknowledged."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

import pytest

from router.control.client import NoAnswerError
from router.control.connection import LONGEST_REQUEST
from router.control.web import connector
from router.control.web.connector import (
    BUSY,
    GONE,
    MOST_WAITING,
    NO_ROOM,
    REFUSED,
    TOO_LONG,
    Connections,
    connector_channel,
    serve_connections,
)

STATUS = {"command": "status"}


class Router:
    """What the connector has connected to: the other ends, by request."""

    def __init__(self) -> None:
        self.ends: list[socket.socket] = []
        self.refusal: NoAnswerError | None = None

    def begun(self, _path: None, request: Mapping[str, Any]) -> socket.socket:
        if self.refusal is not None:
            raise self.refusal
        ours, theirs = socket.socketpair()
        theirs.sendall(json.dumps(request).encode())
        self.ends.append(theirs)
        return ours

    def close(self) -> None:
        for each in self.ends:
            each.close()


@pytest.fixture
def router(monkeypatch: pytest.MonkeyPatch) -> Iterator[Router]:
    made = Router()
    monkeypatch.setattr(connector, "find_router", lambda tun: None)
    monkeypatch.setattr(connector, "begun", made.begun)
    yield made
    made.close()


@pytest.fixture
def server(router: Router) -> Iterator[socket.socket]:
    """The server's end of a connector that runs; it ends with this."""
    ours, theirs = connector_channel()
    ended, end = os.pipe()

    def serve() -> None:
        with ours:
            serve_connections(ours, None, [ended])

    serving = threading.Thread(target=serve)
    serving.start()
    yield theirs
    os.close(end)
    serving.join()
    os.close(ended)
    theirs.close()


def within(server: socket.socket, run: Callable[[Connections], Awaitable[None]]) -> list[str]:
    """Run with the server's end; what was called at the connector's end."""
    ended: list[str] = []

    async def main() -> None:
        connections = Connections(server, lambda: ended.append("ended"))
        connections.start()
        await run(connections)

    asyncio.run(main())
    return ended


def test_connections_come_in_the_order_of_requests(server: socket.socket, router: Router) -> None:
    async def run(connections: Connections) -> None:
        asked = [{**STATUS, "number": number} for number in range(20)]
        for request, sock in zip(
            asked, await asyncio.gather(*map(connections.open, asked)), strict=True
        ):
            with sock:
                assert json.loads(sock.recv(100)) == request

    assert within(server, run) == []


def test_the_connector_keeps_no_copy_that_is_acknowledged(
    server: socket.socket, router: Router
) -> None:
    """The router sees the end when the server has closed its own."""

    async def run(connections: Connections) -> None:
        with await connections.open(STATUS) as sock:
            assert sock.recv(100)
        (end,) = router.ends
        end.settimeout(10)
        assert await asyncio.to_thread(end.recv, 100) == b""

    within(server, run)


def test_a_copy_is_kept_until_it_is_acknowledged(server: socket.socket, router: Router) -> None:
    server.sendall(json.dumps(STATUS).encode() + b"\n")
    answer, (descriptor,), _, _ = socket.recv_fds(server, 100, 1)
    assert answer == b"{}\n"
    assert os.read(descriptor, 100)
    os.close(descriptor)
    (end,) = router.ends
    end.settimeout(0)
    with pytest.raises(BlockingIOError):
        end.recv(1)
    server.sendall(b"\n")
    end.settimeout(10)
    assert end.recv(1) == b""


@pytest.mark.parametrize("line", [b"no JSON", b"[]", b'{"command": "reload"}', b'{"a": ' * 900])
def test_only_reads_are_passed_on(server: socket.socket, router: Router, line: bytes) -> None:
    server.sendall(line + b"\n")
    assert json.loads(server.recv(1000)) == {"error": REFUSED}
    assert router.ends == []


def test_a_request_without_end_ends_the_connector(server: socket.socket) -> None:
    server.sendall(b"x" * (LONGEST_REQUEST + 1))
    assert server.recv(1) == b""


def test_what_is_refused_is_said(server: socket.socket, router: Router) -> None:
    router.refusal = NoAnswerError("no router is running here")

    async def run(connections: Connections) -> None:
        with pytest.raises(NoAnswerError, match="no router is running here"):
            await connections.open(STATUS)
        with pytest.raises(NoAnswerError, match=TOO_LONG):
            await connections.open({**STATUS, "long": "x" * LONGEST_REQUEST})
        router.refusal = None
        (await connections.open(STATUS)).close()

    within(server, run)


def test_a_client_that_has_gone_costs_no_other_its_connection(
    server: socket.socket, router: Router
) -> None:
    async def run(connections: Connections) -> None:
        tasks = [asyncio.create_task(connections.open(STATUS)) for _ in range(3)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        tasks[1].cancel()
        with await tasks[2] as sock:
            assert json.loads(sock.recv(100)) == STATUS

    within(server, run)
    assert len(router.ends) == 2, "the second was not asked for any more"


def test_more_than_the_connector_can_serve_are_refused(router: Router) -> None:
    ours, theirs = connector_channel()

    async def run(connections: Connections) -> None:
        tasks = [asyncio.create_task(connections.open(STATUS)) for _ in range(MOST_WAITING)]
        await asyncio.sleep(0)
        with pytest.raises(NoAnswerError, match=BUSY):
            await connections.open(STATUS)
        ours.close()
        for each in tasks:
            with pytest.raises(NoAnswerError, match=GONE):
                await each
        with pytest.raises(NoAnswerError, match=GONE):
            await connections.open(STATUS)

    assert within(theirs, run) == ["ended"]


def test_a_connection_for_which_there_is_no_room(router: Router) -> None:
    """Its descriptor is missing, see privileged.channel.receive_first."""
    ours, theirs = connector_channel()

    async def run(connections: Connections) -> None:
        asked = asyncio.create_task(connections.open(STATUS))
        await asyncio.sleep(0)
        ours.sendall(b"{}\n")
        with pytest.raises(NoAnswerError, match="descriptors left"):
            await asked

    within(theirs, run)
    assert "descriptors left" in NO_ROOM
    ours.close()
    theirs.close()
