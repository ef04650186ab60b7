"""The log of a run on standard error: one event, one line.

Always true: a line is complete in itself and holds no line break. In the journal of systemd it
begins with its priority (sd-daemon(3)), which the journal removes; the journal adds the time, so no
line has one. At a terminal warnings and errors are marked in colour, elsewhere by a word.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from typing import Final, TextIO

from router.config.problems import Problem, Severity, harmless
from router.platform.colours import has_colours, styled

log = logging.getLogger(__name__)

PRIORITIES: Final = {logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6}
"""By level, the priority of syslog(3)."""
WORDS: Final = {logging.ERROR: "error", logging.WARNING: "warning"}
LEVELS: Final = {Severity.ERROR: logging.ERROR, Severity.WARNING: logging.WARNING}


def log_to(stream: TextIO, environment: Mapping[str, str]) -> None:
    """Log to a stream, in the format for the journal or for people."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_ForJournal() if is_journal(stream, environment) else _ForPeople(stream))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)


def is_journal(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether a stream is the one that JOURNAL_STREAM names (systemd.exec(5)): a program that was
    started from a service may have been given another."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environment.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def log_problems(problems: Iterable[Problem]) -> None:
    """What is wrong with a rules file, where a line has to do for each."""
    for problem in problems:
        log.log(LEVELS[problem.severity], "%s", problem.as_line())


class _ForJournal(logging.Formatter):
    """Under the name that the unit has there."""

    def format(self, record: logging.LogRecord) -> str:
        return f"<{PRIORITIES[record.levelno]}>{harmless(record.getMessage())}"


class _ForPeople(logging.Formatter):
    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    def format(self, record: logging.LogRecord) -> str:
        message = harmless(record.getMessage())
        word = WORDS.get(record.levelno)
        if word is None:
            return f"tunrouter: {message}"
        if has_colours(self._stream):
            word = styled(word, word)
        return f"tunrouter: {word}: {message}"
