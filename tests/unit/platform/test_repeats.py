"""Warnings that are repeated: a few are logged, the rest is counted."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from router.platform.log import log_at_once
from router.platform.repeats import KEPT, MOST, WINDOW, Repeats


class Logged:
    """A logger with the filter, its output, and its clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.stream = io.StringIO()
        handler = logging.StreamHandler(self.stream)
        self.repeats = Repeats(handler, lambda: self.now)
        handler.addFilter(self.repeats)
        self.log = logging.getLogger("tests.repeats")
        self.log.propagate = False
        self.log.handlers[:] = [handler]

    @property
    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()


@pytest.fixture
def logged() -> Iterator[Logged]:
    found = Logged()
    yield found
    found.log.handlers[:] = []


def test_what_comes_too_often_is_counted(logged: Logged) -> None:
    for number in range(10):
        logged.now = number
        logged.log.warning("%s is full", "a disk")
    assert logged.lines == ["a disk is full"] * MOST
    logged.now = WINDOW
    logged.repeats.report()
    assert logged.lines[MOST:] == [f"{10 - MOST} more times in 60 s: a disk is full"]
    logged.log.warning("a disk is full")
    assert logged.lines[-1] == "a disk is full"


def test_the_number_comes_with_the_next_warning_too(logged: Logged) -> None:
    for _ in range(MOST + 1):
        logged.log.warning("once more")
    logged.now = WINDOW
    logged.log.warning("another")
    assert logged.lines[MOST:] == ["1 more times in 60 s: once more", "another"]


def test_nothing_is_lost_at_the_end(logged: Logged) -> None:
    for _ in range(MOST + 2):
        logged.log.warning("once more")
    logged.repeats.report(at_the_end=True)
    assert logged.lines[MOST:] == ["2 more times in 0 s: once more"]


def test_a_few_in_a_window_have_no_number(logged: Logged) -> None:
    for number in range(20):
        logged.now = number * WINDOW / MOST
        logged.log.warning("now and then")
    logged.repeats.report(at_the_end=True)
    assert logged.lines == ["now and then"] * 20


def test_errors_information_and_answers_are_never_held_back(logged: Logged) -> None:
    logged.log.setLevel(logging.DEBUG)
    for _ in range(2 * MOST):
        logged.log.error("an error")
        logged.log.info("information")
        log_at_once(logged.log, logging.WARNING, "a warning that was asked for")
    assert len(logged.lines) == 6 * MOST


def test_only_so_many_are_remembered(logged: Logged) -> None:
    for number in range(KEPT):
        logged.log.warning("warning %d", number)
    for _ in range(2 * MOST):
        logged.log.warning("one more")
    assert logged.lines.count("one more") == 2 * MOST
