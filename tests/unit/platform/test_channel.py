"""Messages and descriptors between two processes, for any data of the other side."""

from __future__ import annotations

import errno
import os
import random
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from router.platform.privileged.channel import (
    LARGEST_RECORDS,
    LARGEST_VALUE,
    SIZES,
    Channel,
    Message,
)

Pair = tuple[Channel, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    with theirs:
        channel = Channel(ours)
        yield channel, theirs
        channel.close()


def test_values_arrive_unchanged(pair: Pair) -> None:
    channel, theirs = pair
    other = Channel(theirs.dup())
    for value in (None, True, "é", [1, [2**127, 1420]], {"name": "tun11"}):
        other.send(Message(value))
        assert channel.receive() == Message(value, [])
    other.close()


def test_records_arrive_unchanged(pair: Pair) -> None:
    channel, theirs = pair
    other = Channel(theirs.dup())
    other.send(Message("value", records=b"\0records"))
    assert channel.receive() == Message("value", [], b"\0records")
    other.close()


def test_after_an_error_the_connection_is_at_its_end(pair: Pair) -> None:
    """What follows is no message: where the next one begins is not known."""
    channel, theirs = pair
    theirs.send(SIZES.pack(LARGEST_VALUE + 1, 0) + SIZES.pack(4, 0) + b"null")
    with pytest.raises(ValueError, match="a message of"):
        channel.receive()
    with pytest.raises(EOFError):
        channel.receive()


def test_values_may_be_limited() -> None:
    ours, end = socket.socketpair()
    limited = Channel(ours, 10)
    with end:
        end.send(SIZES.pack(11, 0))
        with pytest.raises(ValueError, match="a message of 11 bytes"):
            limited.receive()
    limited.close()


def test_descriptors_are_passed(pair: Pair) -> None:
    channel, theirs = pair
    other = Channel(theirs.dup())
    read, write = os.pipe()
    other.send(Message("a pipe", [read, write]))
    os.close(read)
    os.close(write)
    value, (read, write), _ = channel.receive()
    assert value == "a pipe"
    os.write(write, b"through")
    assert os.read(read, 100) == b"through"
    os.close(read)
    os.close(write)
    other.close()


def test_descriptors_without_room_are_missing(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """As macOS says that: EMSGSIZE once, and the bytes are there still."""
    channel, theirs = pair
    receive = socket.recv_fds
    errors = [OSError(errno.EMSGSIZE, "Message too long")]

    def without_room(*arguments: Any) -> Any:
        if errors:
            raise errors.pop()
        return receive(*arguments)

    monkeypatch.setattr(socket, "recv_fds", without_room)
    Channel(theirs.dup()).send(Message("a socket"))
    assert channel.receive() == Message("a socket", [])


def test_without_descriptors_there_is_no_control_message(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel, theirs = pair
    monkeypatch.delattr(socket, "send_fds")
    channel.send(Message("none"))
    assert Channel(theirs.dup()).receive() == Message("none", [])


def test_a_message_in_pieces(pair: Pair) -> None:
    channel, theirs = pair
    for byte in SIZES.pack(4, 0) + b"null":
        theirs.send(bytes([byte]))
    assert channel.receive().value is None


def test_the_end(pair: Pair) -> None:
    channel, theirs = pair
    theirs.send(SIZES.pack(100, 0) + b"[")
    theirs.shutdown(socket.SHUT_WR)
    with pytest.raises(EOFError):
        channel.receive()
    with pytest.raises(EOFError):
        channel.receive()


@pytest.mark.parametrize("body", [b"", b"{", b"nul", b"\xff\xfe", b"[" * 100_000])
def test_invalid_messages(pair: Pair, body: bytes) -> None:
    channel, theirs = pair
    theirs.send(SIZES.pack(len(body), 0) + body)
    with pytest.raises(ValueError, match=r"Expecting|decode|nested"):
        channel.receive()


@pytest.mark.parametrize("sizes", [(LARGEST_VALUE + 1, 0), (4, LARGEST_RECORDS + 1)])
def test_no_message_fills_the_memory(pair: Pair, sizes: tuple[int, int]) -> None:
    channel, theirs = pair
    theirs.send(SIZES.pack(*sizes))
    with pytest.raises(ValueError, match="a message of"):
        channel.receive()


def test_descriptors_of_invalid_messages_are_closed(pair: Pair) -> None:
    channel, theirs = pair
    read, write = os.pipe()
    socket.send_fds(theirs, [SIZES.pack(1, 0) + b"{"], [write])
    os.close(write)
    with pytest.raises(ValueError, match="Expecting"):
        channel.receive()
    assert os.read(read, 1) == b"", "the only other end is closed"
    os.close(read)


def test_random_bytes_end_in_an_exception_that_is_expected(pair: Pair) -> None:
    channel, theirs = pair
    theirs.send(random.Random(11).randbytes(10_000))
    theirs.shutdown(socket.SHUT_WR)
    with pytest.raises((ValueError, EOFError)):
        while True:
            channel.receive()
