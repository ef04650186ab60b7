"""Log lines, for terminals and for the journal."""

from __future__ import annotations

import io
import json
import logging
import os
import pty
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from router.cli import parser
from router.config.model import Place
from router.config.problems import Problem, Severity
from router.platform.log import (
    LOG_FORMATS,
    LOG_LEVELS,
    choose_form,
    has_line_for_each,
    is_journal,
    log_at_once,
    log_problems,
    log_to,
)

log = logging.getLogger("tests.service")


@pytest.fixture(autouse=True)
def _root_logger() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def log_lines() -> None:
    log.info("policy %s: up", "home")
    log.warning("policy %s: down", "home")
    log.error("cannot\ngo on")
    log.debug("of no interest")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[TextIO]:
    """A stream as systemd gives it; the journal itself would be a socket."""
    with (tmp_path / "journal").open("w+", encoding="utf-8") as stream:
        yield stream


def named(stream: TextIO) -> dict[str, str]:
    found = os.fstat(stream.fileno())
    return {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}


def test_for_the_journal_each_line_begins_with_its_priority(journal: TextIO) -> None:
    log_to(journal, named(journal))
    log_lines()
    journal.seek(0)
    assert journal.read().splitlines() == [
        "<6>policy home: up",
        "<4>policy home: down",
        "<3>cannot\N{REPLACEMENT CHARACTER}go on",
    ]


def test_the_journal_of_another_stream_is_ignored(journal: TextIO, tmp_path: Path) -> None:
    with (tmp_path / "other").open("w") as other:
        assert is_journal(journal, named(journal))
        assert not is_journal(other, named(journal))
        assert not is_journal(other, {})
    assert not is_journal(io.StringIO(), named(journal))


def test_elsewhere_warnings_and_errors_are_labelled(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w+", encoding="utf-8") as stream:
        log_to(stream, {})
        log_lines()
        stream.seek(0)
        assert stream.read().splitlines() == [
            "tunrouter: policy home: up",
            "tunrouter: warning: policy home: down",
            "tunrouter: error: cannot\N{REPLACEMENT CHARACTER}go on",
        ]


def test_at_a_terminal_in_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    ours, theirs = pty.openpty()
    with open(theirs, "w", encoding="utf-8") as stream:  # noqa: PTH123 - a descriptor
        log_to(stream, {})
        log_lines()
        seen = ""
        while seen.count("\n") < 3:
            seen += os.read(ours, 1000).decode()
    os.close(ours)
    assert seen.splitlines() == [
        "tunrouter: policy home: up",
        "tunrouter: \x1b[1;33mwarning\x1b[0m: policy home: down",
        "tunrouter: \x1b[1;31merror\x1b[0m: cannot\N{REPLACEMENT CHARACTER}go on",
    ]


def test_problems_of_a_rules_file_are_a_line_each(journal: TextIO) -> None:
    log_to(journal, named(journal))
    place = Place("rules.yaml", 5, 12, 3)
    log_problems(
        [
            Problem("bad-cidr", Severity.ERROR, place, "'300' is over 255", "from 0 to 255"),
            Problem("host-bits-set", Severity.WARNING, place, "host bits", ""),
        ]
    )
    journal.seek(0)
    assert journal.read().splitlines() == [
        "<3>rules.yaml:5:12: error[bad-cidr]: '300' is over 255; from 0 to 255",
        "<4>rules.yaml:5:12: warning[host-bits-set]: host bits",
    ]


def chosen(level: str = "info", form: str = "text") -> dict[str, str]:
    environment: dict[str, str] = {}
    choose_form(environment, level, form)
    return environment


def test_the_command_line_offers_what_there_is() -> None:
    assert list(LOG_LEVELS) == list(parser.LOG_LEVELS)
    assert LOG_FORMATS == parser.LOG_FORMATS


@pytest.mark.parametrize(
    ("level", "words"),
    [
        ("error", ["error"]),
        ("warning", ["warning", "error"]),
        ("info", ["policy", "warning", "error"]),
        ("debug", ["policy", "warning", "error", "debug"]),
    ],
)
def test_a_level_leaves_out_what_is_below(journal: TextIO, level: str, words: list[str]) -> None:
    log_to(journal, chosen(level))
    log_lines()
    journal.seek(0)
    found = [line.split(" ")[1].rstrip(":") for line in journal.read().splitlines()]
    assert found == words


def test_debugging_has_the_lowest_priority_in_the_journal(journal: TextIO) -> None:
    log_to(journal, {**chosen("debug"), **named(journal)})
    log_lines()
    journal.seek(0)
    assert journal.read().splitlines()[-1] == "<7>of no interest"


def test_as_json_each_event_is_an_object(journal: TextIO) -> None:
    environment = {**chosen("debug", "json"), **named(journal)}
    assert has_line_for_each(journal, environment)
    log_to(journal, environment)
    log_lines()
    log_at_once(log, logging.ERROR, "bad", "a line\n  ^^\t^")
    journal.seek(0)
    events = [json.loads(line) for line in journal.read().splitlines()]
    assert [each["level"] for each in events] == ["info", "warning", "error", "debug", "error"]
    assert events[0].keys() == {"time", "level", "logger", "message"}
    assert events[0]["logger"] == "tests.service"
    assert events[0]["time"].endswith("Z")
    assert len(events[0]["time"]) == len("2026-11-29T06:00:00.123Z")
    assert events[2]["message"] == "cannot\N{REPLACEMENT CHARACTER}go on"
    assert events[4]["excerpt"] == ["a line", "  ^^\t^"]


def test_carets_stand_under_their_line(journal: TextIO) -> None:
    """With a character before both, since the journal removes spaces."""
    log_to(journal, named(journal))
    log_at_once(log, logging.ERROR, "bad", "  value\x1b\n  ^^^^^")
    journal.seek(0)
    assert journal.read().splitlines() == [
        "<3>bad",
        "<3>|   value\N{REPLACEMENT CHARACTER}",
        "<3>|   ^^^^^",
    ]


def test_an_environment_that_is_not_ours_is_the_usual_form(journal: TextIO) -> None:
    for value in ("", "loud,json", "debug", "debug,xml"):
        assert not has_line_for_each(journal, {"TUNROUTER_LOG": value})
