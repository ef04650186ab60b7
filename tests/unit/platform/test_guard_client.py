"""Requests to the guard with and without waiting: every reply reaches its callback or caller."""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from router.platform.base.errors import PlatformError
from router.platform.privileged import client
from router.platform.privileged.channel import Message
from router.platform.privileged.client import GuardClient, socket_callback

ECHO = f"""
import os, sys
sys.path[:0] = {sys.path!r}
from router.platform.privileged.channel import Channel, Message
import socket
channel = Channel(socket.socket(fileno=0))
while True:
    name, arguments = channel.receive().value
    if name == "echo":
        channel.send(Message({{"value": arguments}}))
    elif name == "nothing":
        channel.send(Message({{"value": None}}))
    elif name == "open":
        channel.send(Message({{"value": [[{socket.AF_UNIX:d}, {socket.SOCK_STREAM:d}, 0]]}}, [0]))
    else:
        channel.send(Message({{name: arguments["of"]}}))
"""
"""A guard that replies with the arguments, or with {operation: argument}."""

BOUND_S = 20.0


@pytest.fixture
def guard(monkeypatch: pytest.MonkeyPatch) -> Iterator[GuardClient]:
    popen = subprocess.Popen
    monkeypatch.setattr(
        subprocess,
        "Popen",
        lambda _, **options: popen([sys.executable, "-c", ECHO], **options),
    )
    guard = GuardClient("unused", [])
    yield guard
    guard._process.kill()
    guard._process.wait()


def test_each_reply_reaches_its_caller(guard: GuardClient) -> None:
    replies: list[object] = []
    guard.request("echo", replies.append, of=1)
    guard.request("refused", replies.append, of="no room")
    guard.request("errno", replies.append, of=19)
    assert guard.call("echo", of=2).value == {"of": 2}
    first, second, third = replies
    assert first == Message({"of": 1}, [])
    assert isinstance(second, PlatformError)
    assert isinstance(third, OSError)
    assert (str(second), third.errno) == ("no room", 19)


def test_what_has_begun_is_finished_once_its_reply_is_there(guard: GuardClient) -> None:
    """Before and after the reply to another call; an error is raised where it is finished."""
    before, after = guard.begin("echo", of=1), guard.begin("errno", of=19)
    assert before().value == {"of": 1}
    refused = guard.begin("refused", of="no room")
    assert guard.call("echo", of=2).value == {"of": 2}
    with pytest.raises(OSError, match=r"\[Errno 19\]"):
        after()
    with pytest.raises(PlatformError, match="no room"):
        refused()


def test_a_reply_is_dispatched_when_it_arrives(guard: GuardClient) -> None:
    replies: list[object] = []
    guard.request("echo", replies.append, of=1)
    assert replies == []
    assert _is_readable(guard, BOUND_S)
    guard.dispatch()
    assert replies == [Message({"of": 1}, [])]
    with pytest.raises(PlatformError, match="no room"):
        guard.call("refused", of="no room")


def test_dispatch_does_not_wait_for_a_reply_that_was_read_already(guard: GuardClient) -> None:
    """A descriptor that was readable when the round of the loop began need not be when its callback
    runs: a `call` in between reads the reply, and another `request` may follow it."""
    replies: list[object] = []
    guard.request("echo", replies.append, of=1)
    guard.call("echo", of=2)
    os.kill(guard._process.pid, signal.SIGSTOP)
    _at_once(guard.dispatch)
    guard.request("echo", replies.append, of=3)
    _at_once(guard.dispatch)
    assert replies == [Message({"of": 1}, [])]
    os.kill(guard._process.pid, signal.SIGCONT)
    assert guard.call("echo", of=4).value == {"of": 4}
    assert replies == [Message({"of": 1}, []), Message({"of": 3}, [])]


def test_long_requests_and_long_replies_do_not_block_each_other(guard: GuardClient) -> None:
    """Neither side reads while it writes, and no reply fits into the socket's buffer."""
    replies: list[object] = []
    long = "x" * (4 << 20)
    for each in range(3):
        _at_once(partial(guard.request, "echo", replies.append, of=f"{each}{long}"))
    assert guard.call("echo", of="last").value == {"of": "last"}
    assert replies == [Message({"of": f"{each}{long}"}, []) for each in range(3)]


def _is_readable(guard: GuardClient, seconds: float) -> bool:
    """Within so many seconds. By poll(2), unlike select(2) for descriptors of any number."""
    poll = select.poll()
    poll.register(guard, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _at_once(action: Callable[[], None]) -> None:
    """Fail, where it would block for ever."""
    thread = threading.Thread(target=action, daemon=True)
    thread.start()
    thread.join(BOUND_S)
    assert not thread.is_alive()


def test_every_method_reports_that_the_guard_has_ended(guard: GuardClient) -> None:
    replies: list[object] = []
    os.kill(guard._process.pid, signal.SIGKILL)
    guard._process.wait()
    for attempt in (
        guard.dispatch,
        lambda: guard.call("echo"),
        lambda: guard.request("echo", replies.append),
        guard.dispatch,
    ):
        with pytest.raises(PlatformError, match="start the router again"):
            attempt()
    assert replies == []


def test_the_guard_ends_before_it_replies(guard: GuardClient) -> None:
    replies: list[object] = []
    os.kill(guard._process.pid, signal.SIGSTOP)
    guard.request("echo", replies.append, of=1)
    os.kill(guard._process.pid, signal.SIGKILL)
    guard._process.wait()
    with pytest.raises(PlatformError, match="start the router again"):
        guard.dispatch()
    assert replies == []


def test_what_has_begun_fails_though_another_call_has_met_the_end_of_the_guard(
    guard: GuardClient,
) -> None:
    """The other call may be about something that the router can do without."""
    os.kill(guard._process.pid, signal.SIGSTOP)
    finish = guard.begin("echo", of=1)
    os.kill(guard._process.pid, signal.SIGKILL)
    guard._process.wait()
    with pytest.raises(PlatformError, match="start the router again"):
        guard.call("echo")
    for _ in range(2):
        with pytest.raises(PlatformError, match="start the router again"):
            finish()


@pytest.mark.parametrize("size", [1, 4 << 20], ids=["a short request", "a long one"])
def test_a_guard_that_does_not_reply_is_given_up(
    guard: GuardClient, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """By `call` and by `dispatch`: the run has to end."""
    replies: list[object] = []
    pid = guard._process.pid
    guard.call("echo")
    monkeypatch.setattr(client, "REPLY_TIMEOUT", 0.05)
    os.kill(pid, signal.SIGSTOP)
    guard.request("echo", replies.append)
    for attempt in (
        lambda: guard.call("echo", of="x" * size),
        guard.dispatch,
        lambda: guard.request("echo", replies.append),
        lambda: guard.call("echo"),
    ):
        with pytest.raises(PlatformError, match=rf"the guard \(pid {pid}\) has not replied"):
            attempt()
        assert _is_readable(guard, 0)
    assert replies == []
    os.kill(pid, signal.SIGCONT)
    guard._process.wait()


def test_a_guard_that_does_not_read_is_given_up(
    guard: GuardClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard.call("echo")
    monkeypatch.setattr(client, "REPLY_TIMEOUT", 0.05)
    guard._channel._connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    os.kill(guard._process.pid, signal.SIGSTOP)
    with pytest.raises(PlatformError, match="has not replied"):
        guard.request("echo", print, of="x" * (4 << 20))
    with pytest.raises(PlatformError, match="has not replied"):
        guard.dispatch()


def test_an_operation_that_may_take_long_has_a_longer_timeout(
    guard: GuardClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "REPLY_TIMEOUT", 0.0)
    monkeypatch.setattr(client, "REPLY_TIMEOUTS", {"echo": BOUND_S})
    assert guard.call("echo", of=1).value == {"of": 1}


def test_a_guard_that_does_not_end_is_named(
    guard: GuardClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "EXIT_TIMEOUT", 0.05)
    pid = guard._process.pid
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(PlatformError, match=rf"\(pid {pid}\) has not ended.*kill -KILL {pid}"):
        guard.close(None)


def test_the_undoer_of_a_guard_that_was_killed_is_waited_for(
    guard: GuardClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "UNDO_TIMEOUT", 0.05)
    journal = tmp_path / "tun11.undo"
    journal.touch()
    os.kill(guard._process.pid, signal.SIGKILL)
    with pytest.raises(PlatformError, match=f"see {journal}: `sudo tunrouter cleanup`"):
        guard.close(journal)
    monkeypatch.setattr(client, "UNDO_TIMEOUT", BOUND_S)
    undone_meanwhile = SimpleNamespace(monotonic=time.monotonic, sleep=lambda _: journal.unlink())
    monkeypatch.setattr(client, "time", undone_meanwhile)
    guard.close(journal)
    assert not journal.exists()
    guard.close(None)


def test_no_packet_waits_for_a_guard_that_is_stopped(
    guard: GuardClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    replies: list[object] = []
    os.kill(guard._process.pid, signal.SIGSTOP)
    monkeypatch.setattr(client, "BRIEF", 2 * BOUND_S)
    guard.request_unless_late("echo", replies.append, of=1)
    monkeypatch.setattr(client, "BRIEF", 0.0)
    with pytest.raises(BlockingIOError):
        guard.request_unless_late("echo", replies.append, of=2)
    assert replies == []
    os.kill(guard._process.pid, signal.SIGCONT)
    guard.call("echo")
    assert replies == [Message({"of": 1}, [])]


def test_a_socket_is_handed_over_or_the_error(guard: GuardClient) -> None:
    opened: list[socket.socket | Exception] = []
    guard.request_unless_late("open", socket_callback(opened.append))
    guard.request_unless_late("nothing", socket_callback(opened.append))
    guard.request_unless_late("refused", socket_callback(opened.append), of="no")
    guard.call("echo")
    first, second, third = opened
    assert isinstance(first, socket.socket)
    first.close()
    assert isinstance(second, OSError)
    assert second.errno == errno.EMFILE
    assert isinstance(third, PlatformError)


def test_a_guard_that_is_free_says_so_when_it_is(guard: GuardClient) -> None:
    replies: list[object] = []
    os.kill(guard._process.pid, signal.SIGSTOP)
    guard.request("echo", replies.append, of=1)
    guard.when_free(replies.append)
    guard.check()
    assert replies == []
    os.kill(guard._process.pid, signal.SIGCONT)
    guard.call("echo")
    assert replies == [Message({"of": 1}, []), None]


def test_a_reply_that_is_read_late_is_not_late(
    guard: GuardClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "REPLY_TIMEOUT", 0.0)
    replies: list[object] = []
    guard.request("echo", replies.append, of=1)
    assert _is_readable(guard, BOUND_S)
    guard.check()
    guard.dispatch()
    assert replies == [Message({"of": 1}, [])]


def test_a_guard_that_hangs_is_noticed_without_waiting(
    guard: GuardClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "REPLY_TIMEOUT", 0.0)
    replies: list[object] = []
    os.kill(guard._process.pid, signal.SIGSTOP)
    guard.when_free(replies.append)
    guard.when_free(replies.append)
    for attempt in (guard.check, guard.dispatch):
        with pytest.raises(PlatformError, match="has not replied"):
            attempt()
    guard.when_free(replies.append)
    assert len(replies) == 3
    assert all(isinstance(reply, PlatformError) for reply in replies)


def test_descriptors_are_acknowledged_where_that_is_needed(
    guard: GuardClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a request after the reply; none is sent where one follows anyway, or without any."""
    asked: list[str] = []
    send = guard._send

    def note(request: Message) -> None:
        asked.append(request.value[0])
        send(request)

    monkeypatch.setattr(guard, "_acknowledges", True)
    monkeypatch.setattr(guard, "_send", note)
    guard.open_socket("open").close()
    assert asked == ["open", "nothing"]
    guard.call("echo")
    assert asked == ["open", "nothing", "echo"]
    replies: list[object] = []
    guard.request("open", replies.append)
    guard.request("echo", replies.append)
    wait_for(lambda: len(replies) == 2, guard)
    assert asked[3:] == ["open", "echo"]
    assert isinstance(replies[0], Message)
    os.close(replies[0].descriptors[0])


def wait_for(is_there: Callable[[], bool], guard: GuardClient) -> None:
    while not is_there():
        assert guard._channel.is_readable(BOUND_S)
        guard.dispatch()
