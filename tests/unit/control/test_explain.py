"""`explain` of the control socket: one program at a time, and whatever it writes is an answer."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import pytest

from router.control.explain import CUT_OFF, LARGEST, PATIENCE, TOO_LONG, Explainer, fault_of
from router.platform.base.errors import PlatformError
from router.platform.base.starts import START_BURST, STARTS_PER_SECOND
from router.platform.program_output import Output
from tests.unit.control.rounds import Rounds


class MemoryAnswer:
    def __init__(self, destination: str) -> None:
        self.request: Mapping[str, Any] = {"destination": destination}
        self.said: list[str] = []

    def reply(self, pieces: Any) -> None:
        self.said.append(b"".join(pieces).decode())

    def refuse(self, why: str) -> None:
        self.said.append(why)


class MemoryProcesses:
    """Starts nothing: a test writes what the program would."""

    def __init__(self) -> None:
        self.started: list[Any] = []
        self.refusal: PlatformError | None = None
        self._ends: list[int] = []

    def start_explain(self, question: Any, done: Callable[[Any], None]) -> None:
        self.started.append(question)
        if self.refusal is not None:
            done(self.refusal)
            return
        output, into = os.pipe()
        self._ends.append(into)
        done(Output(output))

    def write(self, data: bytes) -> None:
        os.write(self._ends[-1], data)

    def end(self) -> None:
        os.close(self._ends.pop())


class World:
    def __init__(self) -> None:
        self.rounds, self.processes = Rounds(), MemoryProcesses()
        self.explainer = Explainer(cast(Any, self.processes), self.rounds)

    def ask(self, destination: str) -> MemoryAnswer:
        answer = MemoryAnswer(destination)
        self.explainer.answer(cast(Any, answer))
        return answer


@pytest.fixture
def world() -> Iterator[World]:
    yield World()


def test_requests_wait_for_each_other(world: World) -> None:
    first, second = world.ask("a"), world.ask("b")
    assert [each["destination"] for each in world.processes.started] == ["a"]
    world.processes.write(b'{"text": ')
    world.rounds.run(3)
    world.processes.write(b'"A"}\n')
    world.processes.end()
    world.rounds.run(3)
    assert [json.loads(each) for each in first.said] == [{"text": "A"}]
    assert [each["destination"] for each in world.processes.started] == ["a", "b"]
    world.processes.write(b'{"text": "B"}\n')
    world.processes.end()
    world.rounds.run(3)
    assert [json.loads(each) for each in second.said] == [{"text": "B"}]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (b"", CUT_OFF),
        (b'{"text": "cut', CUT_OFF),
        (b"[]\n", CUT_OFF),
        (b"\xff\n", CUT_OFF),
        (b'{"error": "no such name"}\n', "no such name"),
    ],
)
def test_what_is_no_answer_is_refused(world: World, written: bytes, said: str) -> None:
    answer = world.ask("a")
    world.processes.write(written)
    world.processes.end()
    world.rounds.run(3)
    assert answer.said == [said]


def test_one_that_does_not_end_is_given_up_and_the_next_begins(world: World) -> None:
    first, second = world.ask("a"), world.ask("b")
    world.rounds.wait(round(PATIENCE) + 1)
    assert first.said == [TOO_LONG]
    world.processes.write(b'{"text": "B"}\n')
    world.processes.end()
    world.rounds.run(3)
    assert len(second.said) == 1
    world.rounds.wait(round(PATIENCE) + 1)
    assert len(first.said) == len(second.said) == 1


def test_one_that_writes_without_end_is_given_up(world: World) -> None:
    answer = world.ask("a")
    for _ in range(2 * LARGEST // (1 << 15)):
        if answer.said:
            break
        world.processes.write(bytes(1 << 15))
        world.rounds.run(2)
    assert answer.said == [CUT_OFF]


def test_questions_without_end_wait_for_what_the_guard_allows(world: World) -> None:
    began = world.rounds.now
    for _ in range(START_BURST + 6):
        answer = world.ask("a")
        while len(world.processes.started) == 0:
            world.rounds.now += 0.01
            world.rounds.run()
        world.processes.started.clear()
        world.processes.write(b'{"text": "A"}\n')
        world.processes.end()
        world.rounds.run(3)
        assert answer.said == ['{"text": "A"}\n']
    assert (world.rounds.now - began) * STARTS_PER_SECOND >= 6


def test_one_that_is_not_started(world: World) -> None:
    world.processes.refusal = PlatformError("too often: try again in a second")
    assert world.ask("a").said == world.ask("b").said == ["too often: try again in a second"]


@pytest.mark.parametrize(
    ("question", "named"),
    [
        ({}, "None"),
        ({"destination": ""}, "''"),
        ({"destination": 7}, "'7'"),
        ({"destination": "two words"}, "'two words'"),
        ({"destination": "-h"}, "'-h'"),
        ({"destination": "a", "protocol": "sctp"}, "'sctp'"),
        ({"destination": "a", "protocol": ["tcp"]}, "tcp"),
        ({"destination": "a", "port": 0}, "'0'"),
        ({"destination": "a", "port": 65_536}, "'65536'"),
        ({"destination": "a", "port": True}, "'True'"),
        ({"destination": "a", "port": "443"}, "'443'"),
    ],
)
def test_a_fault_is_named_and_nothing_is_started(
    world: World, question: dict[str, Any], named: str
) -> None:
    answer = MemoryAnswer("")
    answer.request = question
    world.explainer.answer(cast(Any, answer))
    (said,) = answer.said
    assert named in said
    assert not world.processes.started


@pytest.mark.parametrize("destination", ["192.0.2.1", "2001:db8::1", "example.org"])
def test_addresses_and_names_are_no_fault(destination: str) -> None:
    assert fault_of({"destination": destination, "protocol": "tcp", "port": 443}) is None
