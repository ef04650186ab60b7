"""Asking the guard with and without waiting: every answer reaches who has asked."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from router.platform.base import PlatformError
from router.platform.linux import guarded
from router.platform.linux.guarded import Guard

ECHO = f"""
import os, sys
sys.path[:0] = {sys.path!r}
from router.platform.linux.channel import Channel, Message
import socket
channel = Channel(socket.socket(fileno=0))
while True:
    name, arguments = channel.receive().value
    if name == "echo":
        channel.send(Message({{"value": arguments}}))
    else:
        channel.send(Message({{name: arguments["of"]}}))
"""
"""A guard that answers with what it is asked: its arguments, or {operation: argument}."""

BOUND_S = 20.0


@pytest.fixture
def guard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Guard]:
    popen = subprocess.Popen
    monkeypatch.setattr(
        subprocess,
        "Popen",
        lambda _, **options: popen([sys.executable, "-c", ECHO], **options),
    )
    guard = Guard([])
    yield guard
    guard._process.kill()
    guard._process.wait()


def test_answers_come_to_who_has_asked(guard: Guard) -> None:
    tcp_info: list[object] = []
    guard.ask_later("echo", tcp_info.append, of=1)
    guard.ask_later("refused", tcp_info.append, of="no room")
    guard.ask_later("errno", tcp_info.append, of=19)
    assert guard.ask("echo", of=2).value == {"of": 2}
    first, second, third = tcp_info
    assert first == ({"of": 1}, [])
    assert isinstance(second, PlatformError)
    assert isinstance(third, OSError)
    assert (str(second), third.errno) == ("no room", 19)


def test_an_answer_is_heard_when_it_comes(guard: Guard) -> None:
    tcp_info: list[object] = []
    guard.ask_later("echo", tcp_info.append, of=1)
    assert tcp_info == []
    select.select([guard], [], [])
    guard.hear()
    assert tcp_info == [({"of": 1}, [])]
    with pytest.raises(PlatformError, match="no room"):
        guard.ask("refused", of="no room")


def test_to_hear_what_was_heard_already_does_not_wait(guard: Guard) -> None:
    """A descriptor that was readable when the round began need not be when its turn comes: the
    answer has been taken by somebody who asked meanwhile, who may even have asked for more."""
    tcp_info: list[object] = []
    guard.ask_later("echo", tcp_info.append, of=1)
    guard.ask("echo", of=2)
    os.kill(guard._process.pid, signal.SIGSTOP)
    _at_once(guard.hear)
    guard.ask_later("echo", tcp_info.append, of=3)
    _at_once(guard.hear)
    assert tcp_info == [({"of": 1}, [])]
    os.kill(guard._process.pid, signal.SIGCONT)
    assert guard.ask("echo", of=4).value == {"of": 4}
    assert tcp_info == [({"of": 1}, []), ({"of": 3}, [])]


def test_long_questions_and_long_answers_do_not_wait_for_each_other(guard: Guard) -> None:
    """Neither side reads while it writes, and no answer fits what the kernel holds of it."""
    tcp_info: list[object] = []
    long = "x" * (4 << 20)
    for each in range(3):
        _at_once(partial(guard.ask_later, "echo", tcp_info.append, of=f"{each}{long}"))
    assert guard.ask("echo", of="last").value == {"of": "last"}
    assert tcp_info == [({"of": f"{each}{long}"}, []) for each in range(3)]


def _at_once(action: Callable[[], None]) -> None:
    """Or else the test would wait for ever."""
    thread = threading.Thread(target=action, daemon=True)
    thread.start()
    thread.join(BOUND_S)
    assert not thread.is_alive()


def test_the_end_of_the_guard_is_told_however_it_is_noticed(guard: Guard) -> None:
    tcp_info: list[object] = []
    os.kill(guard._process.pid, signal.SIGKILL)
    guard._process.wait()
    for attempt in (
        guard.hear,
        lambda: guard.ask("echo"),
        lambda: guard.ask_later("echo", tcp_info.append),
        guard.hear,
    ):
        with pytest.raises(PlatformError, match="start the router again"):
            attempt()
    assert tcp_info == []


def test_the_end_of_the_guard_before_an_answer(guard: Guard) -> None:
    tcp_info: list[object] = []
    os.kill(guard._process.pid, signal.SIGSTOP)
    guard.ask_later("echo", tcp_info.append, of=1)
    os.kill(guard._process.pid, signal.SIGKILL)
    guard._process.wait()
    with pytest.raises(PlatformError, match="start the router again"):
        guard.hear()
    assert tcp_info == []


@pytest.mark.parametrize("size", [1, 4 << 20], ids=["a short question", "a long one"])
def test_a_guard_that_is_silent_is_given_up(
    guard: Guard, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """By whoever asks, and by whoever waits for something to be heard: the run has to end."""
    tcp_info: list[object] = []
    pid = guard._process.pid
    guard.ask("echo")
    monkeypatch.setattr(guarded, "ANSWER", 0.05)
    os.kill(pid, signal.SIGSTOP)
    guard.ask_later("echo", tcp_info.append)
    for attempt in (
        lambda: guard.ask("echo", of="x" * size),
        guard.hear,
        lambda: guard.ask_later("echo", tcp_info.append),
        lambda: guard.ask("echo"),
    ):
        with pytest.raises(PlatformError, match=rf"the guard \(pid {pid}\) does not answer"):
            attempt()
        assert select.select([guard], [], [], 0)[0]
    assert tcp_info == []
    os.kill(pid, signal.SIGCONT)
    guard._process.wait()


def test_a_guard_that_takes_nothing_in_is_given_up(
    guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    guard.ask("echo")
    monkeypatch.setattr(guarded, "ANSWER", 0.05)
    os.kill(guard._process.pid, signal.SIGSTOP)
    with pytest.raises(PlatformError, match="does not answer"):
        guard.ask_later("echo", print, of="x" * (4 << 20))
    with pytest.raises(PlatformError, match="does not answer"):
        guard.hear()


def test_what_may_take_long_is_given_its_time(
    guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarded, "ANSWER", 0.0)
    monkeypatch.setattr(guarded, "ANSWERS", {"echo": BOUND_S})
    assert guard.ask("echo", of=1).value == {"of": 1}


def test_a_guard_that_does_not_end_is_named(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded, "PATIENCE", 0.05)
    pid = guard._process.pid
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(PlatformError, match=rf"\(pid {pid}\) has not ended.*kill -KILL {pid}"):
        guard.close(None)


def test_of_a_guard_that_was_killed_the_undoer_is_waited_for(
    guard: Guard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guarded, "UNDOING", 0.05)
    journal = tmp_path / "tun11.undo"
    journal.touch()
    os.kill(guard._process.pid, signal.SIGKILL)
    with pytest.raises(PlatformError, match=f"see {journal}: `sudo tunrouter cleanup`"):
        guard.close(journal)
    monkeypatch.setattr(guarded, "UNDOING", BOUND_S)
    undone_meanwhile = SimpleNamespace(monotonic=time.monotonic, sleep=lambda _: journal.unlink())
    monkeypatch.setattr(guarded, "time", undone_meanwhile)
    guard.close(journal)
    assert not journal.exists()
    guard.close(None)
