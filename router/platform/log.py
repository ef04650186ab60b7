"""The log of a run on standard error: one event, one line.

Always true: an event is complete in itself, and each of its lines too: no line holds a line break.
In the journal of systemd a line begins with its priority (sd-daemon(3)), which the journal removes;
the journal adds the time, so no line has one. At a terminal warnings and errors are marked in
colour, elsewhere by a word. As JSON an event is one object on one line, with its time.
What the router repeats is counted instead (router.platform.repeats), in every form.

The form and the least level are the same in all processes of a run: the first one names them in
its environment (FORM), which the others inherit.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterable, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, Final, TextIO

from router.config.text import harmless
from router.platform.colours import has_colours, styled
from router.platform.repeats import EXCERPT, REPEATED, Repeats

if TYPE_CHECKING:
    from router.config.problems import Problem

log = logging.getLogger(__name__)

LOG_LEVELS: Final = {
    "error": logging.ERROR,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}
LOG_FORMATS: Final = ("text", "json")
FORM: Final = "TUNROUTER_LOG"
"""The variable of the environment that holds level and format, as in `debug,json`."""
USUAL: Final = ("info", "text")

PRIORITIES: Final = {logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6, logging.DEBUG: 7}
"""By level, the priority of syslog(3)."""
NAMES: Final = {number: name for name, number in LOG_LEVELS.items()}
UNMARKED: Final = logging.INFO
"""The level whose lines have no word for it."""


def choose_form(environment: MutableMapping[str, str], level: str, form: str) -> None:
    """Of this process and those that it starts. level: one of LOG_LEVELS; form: of LOG_FORMATS."""
    environment[FORM] = f"{level},{form}"


def log_to(stream: TextIO, environment: Mapping[str, str]) -> None:
    """Log to a stream, in the form that is chosen: as JSON, else for the journal or for people."""
    level, form = _form(environment)
    handler = logging.StreamHandler(stream)
    if form == "json":
        handler.setFormatter(_Json())
    elif is_journal(stream, environment):
        handler.setFormatter(_ForJournal())
    else:
        handler.setFormatter(_ForPeople(stream))
    handler.addFilter(Repeats(handler, time.monotonic))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(LOG_LEVELS[level])


def report_repeated(*, at_the_end: bool = False) -> None:
    """Log how often what was repeated has been, where it is time to. To be called now and then, and
    at the end of a run."""
    for handler in logging.getLogger().handlers:
        for each in handler.filters:
            if isinstance(each, Repeats):
                each.report(at_the_end=at_the_end)


def has_line_for_each(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether all that a run writes to a stream has to be events of the log."""
    return _form(environment)[1] == "json" or is_journal(stream, environment)


def is_journal(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Whether a stream is the one that JOURNAL_STREAM names (systemd.exec(5)): a program that was
    started from a service may have been given another."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environment.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def log_problems(problems: Iterable[Problem]) -> None:
    """What is wrong with a rules file, an event for each."""
    for problem in problems:
        log_at_once(log, LOG_LEVELS[problem.severity], problem.as_line())


def log_at_once(logger: logging.Logger, level: int, line: str, excerpt: str = "") -> None:
    """Log what someone has asked for, however often. excerpt: lines of a file that it is about, and
    carets under them."""
    logger.log(level, "%s", line, extra={EXCERPT: excerpt, REPEATED: 0})


def _form(environment: Mapping[str, str]) -> tuple[str, str]:
    level, _, form = environment.get(FORM, "").partition(",")
    return (level, form) if level in LOG_LEVELS and form in LOG_FORMATS else USUAL


def _excerpt(record: logging.LogRecord) -> list[str]:
    """Tabs stay, so that carets stand right."""
    lines = str(getattr(record, EXCERPT, "")).split("\n")
    return ["\t".join(map(harmless, line.split("\t"))) for line in lines if line]


class _ForJournal(logging.Formatter):
    """Under the name that the unit has there."""

    def format(self, record: logging.LogRecord) -> str:
        mark = f"<{PRIORITIES[record.levelno]}>"
        # The journal removes the spaces that a line begins with.
        excerpt = (f"| {line}" for line in _excerpt(record))
        return "\n".join(mark + line for line in (harmless(record.getMessage()), *excerpt))


class _ForPeople(logging.Formatter):
    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    def format(self, record: logging.LogRecord) -> str:
        lines = [self._header(record), *(f"tunrouter: | {line}" for line in _excerpt(record))]
        return "\n".join(lines)

    def _header(self, record: logging.LogRecord) -> str:
        message = harmless(record.getMessage())
        if record.levelno == UNMARKED:
            return f"tunrouter: {message}"
        word = NAMES[record.levelno]
        if has_colours(self._stream):
            word = styled(word, word)
        return f"tunrouter: {word}: {message}"


class _Json(logging.Formatter):
    """Members that programs rely on: time (UTC, RFC 3339), level, logger, message; where there are
    any, excerpt and repeated."""

    def format(self, record: logging.LogRecord) -> str:
        second = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        event: dict[str, Any] = {
            "time": f"{second}.{int(record.msecs):03d}Z",
            "level": NAMES[record.levelno],
            "logger": record.name,
            "message": harmless(record.getMessage()),
        }
        if excerpt := _excerpt(record):
            event["excerpt"] = excerpt
        if repeated := getattr(record, REPEATED, 0):
            event["repeated"] = repeated
        return json.dumps(event, ensure_ascii=False)
