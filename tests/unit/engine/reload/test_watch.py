"""The program that watches, and the router's end of it."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from router.engine.reload import watch, watcher
from router.platform.base.errors import PlatformError


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    file = tmp_path / "rules.yaml"
    file.write_text("rules: [{file: list.txt, policy: drop}]")
    (tmp_path / "list.txt").write_text("192.0.2.0/24\n")
    for each in tmp_path.iterdir():
        each.chmod(0o644)
    return file


@pytest.fixture
def watched(rules: Path) -> Iterator[Callable[[float], int]]:
    """Starts the watching, from a time on; what it writes can be read from the descriptor."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    threads = []

    def start(since: float) -> int:
        thread = threading.Thread(target=watch.watch, args=(rules, since, writing))
        thread.start()
        threads.append(thread)
        return reading

    yield start
    os.close(reading)
    for each in threads:
        each.join()
    os.close(writing)


def test_what_was_saved_before_the_program_began_counts(
    watched: Callable[[float], int], rules: Path
) -> None:
    saved = rules.stat().st_ctime
    assert os.read(watched(saved), 100) == watch.CHANGED


def test_it_ends_with_its_reader(watched: Callable[[float], int]) -> None:
    watched(time.time() + 60)  # the fixture waits for its end


def test_a_list_is_seen_by_what_it_is_not_by_its_name(tmp_path: Path) -> None:
    file, other = tmp_path / "a", tmp_path / "b"
    file.write_text("1")
    other.write_text("1")
    before = watch.look_at([file, tmp_path / "none", Path("\0")])
    assert before[tmp_path / "none"] is None
    assert before[Path("\0")] is None
    other.rename(file)
    assert watch.look_at([file])[file] != before[file]


class Fake:
    """Pipe, processes, guard and loop in one; `pieces` is what the pipe gives."""

    def __init__(self) -> None:
        self.pieces: list[bytes | None] = []
        self.refusal: PlatformError | None = None
        self.timers: list[Callable[[], None]] = []
        self.readable: Callable[[], None] | None = None
        self.changes = 0
        self.started = 0
        self.closed = 0

    def fileno(self) -> int:
        return 7

    def read(self) -> bytes:
        piece = self.pieces.pop(0)
        if piece is None:
            raise BlockingIOError
        return piece

    def close(self) -> None:
        self.closed += 1

    def watch(self, source: object, readable: Callable[[], None]) -> None:
        self.readable = readable

    def forget(self, source: object) -> None:
        self.readable = None

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        self.timers.append(callback)

    def guard(self) -> Fake:
        return self

    def when_free(self, done: Callable[[PlatformError | None], None]) -> None:
        done(self.refusal)

    def start_watch(self) -> Fake:
        self.started += 1
        return self

    def changed(self) -> None:
        self.changes += 1

    def come(self, *pieces: bytes | None) -> None:
        self.pieces += pieces
        for _ in pieces:
            assert self.readable is not None
            self.readable()

    def later(self) -> None:
        self.timers.pop(0)()


def made() -> tuple[Fake, watcher.Watcher]:
    fake = Fake()
    return fake, watcher.Watcher(fake, fake, fake, fake.changed)  # type: ignore[arg-type]


def test_each_line_makes_the_router_read() -> None:
    fake, _ = made()
    fake.come(watch.CHANGED, None, watch.CHANGED * 2)
    assert fake.changes == 2


def test_a_program_that_ends_is_started_again_and_the_rules_are_read(
    caplog: pytest.LogCaptureFixture,
) -> None:
    fake, watching = made()
    fake.come(b"")
    fake.later()
    assert "does not run (it has ended)" in caplog.text
    assert (fake.closed, fake.readable) == (1, None)
    fake.later()
    assert (fake.started, fake.changes) == (1, 1)
    fake.come(watch.CHANGED)
    assert fake.changes == 2
    watching.close()
    assert fake.closed == 2


def test_a_guard_that_refuses_is_asked_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    fake, _ = made()
    fake.come(b"")
    fake.later()
    fake.refusal = PlatformError("no")
    fake.later()
    assert "does not run (no)" in caplog.text
    assert fake.started == 0
    fake.refusal = None
    fake.later()
    assert fake.started == 1
