"""Connections to the HTTP server: how many there are, and for how long."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from router.control.web import server
from router.control.web.app import application
from tests.web.sample import SampleAnswers

BOUND_S = 20.0
REQUEST = b"HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n"
LONG = REQUEST.replace(b"HEAD /", b"GET /app.js")


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    """Of a server of four connections."""
    monkeypatch.setattr(server, "MOST_CONNECTIONS", 4)
    listener = server.bound_socket("127.0.0.1", 0)
    serving = server.http_server(application(SampleAnswers(), None, []))
    thread = threading.Thread(target=serving.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield listener.getsockname()
    finally:
        serving.should_exit = True
        thread.join()


def connected(address: tuple[str, int]) -> socket.socket:
    return socket.create_connection(address, BOUND_S)


def answer(sock: socket.socket) -> bytes:
    sock.sendall(REQUEST)
    return sock.recv(1 << 16)


def is_closed(sock: socket.socket) -> bool:
    """Waits for what the server does."""
    try:
        return not sock.recv(1)
    except ConnectionResetError:
        return True


def test_of_too_many_the_one_that_is_idle_longest_is_closed(address: tuple[str, int]) -> None:
    first = connected(address)
    used = connected(address)
    assert answer(used).startswith(b"HTTP/1.1 200")
    others = [connected(address) for _ in range(3)]
    assert is_closed(first)
    assert answer(used).startswith(b"HTTP/1.1 200")
    for each in (first, used, *others):
        each.close()


@pytest.mark.parametrize("sent", [b"", REQUEST[:9], b"\0" * 1000], ids=["silent", "slow", "wrong"])
def test_one_on_which_nothing_is_answered_is_closed(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(server, "PATIENCE", 0.2)
    with connected(address) as sock:
        sock.sendall(sent)
        while not is_closed(sock):
            pass


def test_one_that_does_not_read_is_closed(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its requests are answered until nothing more goes into its buffers."""
    monkeypatch.setattr(server, "PATIENCE", 0.2)
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(address)
        sock.settimeout(0.1)
        deadline = time.monotonic() + BOUND_S
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            while time.monotonic() < deadline:
                try:
                    sock.sendall(LONG * 100)
                except TimeoutError:
                    continue
