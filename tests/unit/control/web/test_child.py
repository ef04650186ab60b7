"""The web process of a running router: started, started again with a back-off, moved, ended."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, cast

import pytest

from router.config.model import Web
from router.control.web import child
from router.control.web.child import LONGEST, WebChild
from router.control.web.installed import not_installed
from router.control.web.launch import serve
from router.control.web.settings import Settings
from router.platform.base.errors import PlatformError
from router.platform.program_output import Output
from tests.unit.control.rounds import Rounds

HERE, THERE = Web("127.0.0.1", 9469), Web("127.0.0.1", 9470, "a-token-of-24-characters")


class MemoryProcesses:
    """Starts nothing: a test ends what would run."""

    def __init__(self) -> None:
        self.started: list[tuple[str, int, str | None]] = []
        self.ended = 0
        self.refusal: PlatformError | None = None
        self._running: list[int] = []

    def start_web(
        self, host: str, port: int, token: str | None, done: Callable[[Any], None]
    ) -> None:
        self.crash()
        self.started.append((host, port, token))
        if self.refusal is not None:
            done(self.refusal)
            return
        output, into = os.pipe()
        self._running.append(into)
        done(Output(output))

    def end_web(self) -> None:
        self.ended += 1
        self.crash()

    def crash(self) -> None:
        """It ends, whatever the reason."""
        while self._running:
            os.close(self._running.pop())


class World:
    def __init__(self) -> None:
        self.rounds, self.processes = Rounds(), MemoryProcesses()
        self.child = WebChild(cast(Any, self.processes), self.rounds)


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.child.close()
    made.processes.crash()


def test_without_web_nothing_is_started(world: World) -> None:
    world.child.follow(None)
    assert (world.processes.started, world.processes.ended) == ([], 0)


def test_one_that_keeps_ending_is_started_less_and_less_often(world: World) -> None:
    world.child.follow(HERE)
    starts = []
    for second in range(200):
        world.processes.crash()
        before = len(world.processes.started)
        world.rounds.wait(1)
        world.rounds.run(3)
        starts += [second] * (len(world.processes.started) - before)
    pauses = [after - before for before, after in pairwise(starts)]
    assert pauses == sorted(pauses)
    assert LONGEST <= pauses[-1] <= LONGEST + 2
    assert len(starts) < 12


def test_one_that_has_run_for_long_is_started_again_soon(world: World) -> None:
    world.child.follow(HERE)
    for _ in range(4):
        world.processes.crash()
        world.rounds.wait(20)
    world.rounds.wait(round(LONGEST) + 1)
    before = len(world.processes.started)
    world.processes.crash()
    world.rounds.wait(3)
    assert len(world.processes.started) == before + 1


def test_the_same_settings_change_nothing(world: World) -> None:
    world.child.follow(HERE)
    world.child.follow(Web("127.0.0.1", 9469))
    world.rounds.wait(5)
    assert len(world.processes.started) == 1


def test_other_settings_start_another_one_and_none_ends_it(world: World) -> None:
    world.child.follow(HERE)
    world.child.follow(THERE)
    world.rounds.wait(5)
    assert world.processes.started == [
        ("127.0.0.1", 9469, None),
        ("127.0.0.1", 9470, "a-token-of-24-characters"),
    ]
    world.child.follow(None)
    world.rounds.wait(100)
    assert (len(world.processes.started), world.processes.ended) == (2, 1)


def test_one_that_is_refused_is_tried_again(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.processes.refusal = PlatformError("too often")
    world.child.follow(HERE)
    world.processes.refusal = None
    world.rounds.wait(2)
    assert len(world.processes.started) == 2
    assert "cannot be started: too often" in caplog.text


def test_by_hand_it_says_what_is_not_installed(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router.control.web.installed.NEEDED", ("no_such_module",))
    assert serve(Settings(None, "127.0.0.1", 9469)) == 1
    assert caplog.messages == [
        "the web page needs no-such-module, which is not installed: pip install 'tunrouter[web]'"
    ]


def test_where_it_is_not_installed_the_router_runs_without(
    world: World, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("router.control.web.installed.NEEDED", ("no_such_module", "json", "no_2"))
    assert not_installed() == (
        "the web page needs no-such-module and no-2, which are not installed: "
        "pip install 'tunrouter[web]'"
    )
    monkeypatch.setattr(child, "not_installed", not_installed)
    with caplog.at_level(logging.WARNING):
        world.child.follow(HERE)
        world.rounds.wait(100)
    assert world.processes.started == []
    assert caplog.text.count("the router runs without") == 1
