"""The bytes of a rules file as text in which places can be counted.

Always true: the text ends its lines with a newline and nothing else, has no byte order mark, and
holds nothing that YAML parsers disagree about or that can't be seen.

Must not know: YAML.
"""

from __future__ import annotations

import re
import stat
from itertools import islice
from pathlib import Path

from router.config.model import Place
from router.config.problems import Problem, Severity

REPORTED = 100
"""Characters that are reported one by one; a file with more of them is no text file."""

UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
"""What YAML forbids, with the line breaks that editors don't count as such (U+0085, U+2028,
U+2029) and byte order marks within the text. A set of what is forbidden compiles in a tenth of
the time of one of all that is allowed."""


class RulesFileUnreadable(Exception):
    """The rules file can't be read at all. `problem` has the reason and the remedy."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def read_bytes(path: Path) -> bytes:
    """The whole file. Raises RulesFileUnreadable where there is none, or none to be read."""
    try:
        kind = path.stat().st_mode
        if stat.S_ISDIR(kind):
            raise _unreadable(path, "is a directory", f"name the file, as {path}/rules.yaml")
        if not (stat.S_ISREG(kind) or stat.S_ISFIFO(kind)):
            raise _unreadable(path, "is not a regular file", "name a file with rules")
        return path.read_bytes()
    except FileNotFoundError:
        raise _unreadable(path, "does not exist", "name another with -c, or create it") from None
    except PermissionError:
        raise _unreadable(path, "may not be read", "run as its owner, or chmod a+r it") from None
    except OSError as error:
        why = f"can't be read: {error.strerror or error}"
        raise _unreadable(path, why, "check the path") from None
    except ValueError:  # a NUL character in the path
        raise _unreadable(path, "is not a path", "check its name") from None


def _unreadable(path: Path, why: str, remedy: str) -> RulesFileUnreadable:
    message = f"the rules file {path} {why}"
    return RulesFileUnreadable(
        Problem("unreadable-rules-file", Severity.ERROR, None, message, remedy)
    )


def decode(file: str, data: bytes) -> tuple[str, list[Problem]]:
    """The text and what makes it unfit to be parsed: wrong encoding, characters that hide."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return data.decode("utf-8", "replace"), [_bad_encoding(file, data, error)]
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text, _unseen(file, text)


def _bad_encoding(file: str, data: bytes, error: UnicodeDecodeError) -> Problem:
    body = error.object[: error.start].replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    before = body.decode("utf-8", "replace")
    line = before.count("\n") + 1
    column = len(before) - (before.rfind("\n") + 1) + 1
    value = error.object[error.start]
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        message = "the file is UTF-16, not UTF-8"
    else:
        message = f"the byte 0x{value:02x} is not UTF-8"
    place = Place(file, line, column)
    return Problem("bad-encoding", Severity.ERROR, place, message, "save the file as UTF-8")


def _unseen(file: str, text: str) -> list[Problem]:
    """A problem for each of the first REPORTED characters that may not stand in the file."""
    problems = []
    line, line_start, seen_to = 1, 0, 0
    for match in islice(UNSEEN.finditer(text), REPORTED):
        at = match.start()
        line += text.count("\n", seen_to, at)
        line_start = text.rfind("\n", line_start, at) + 1 or line_start
        seen_to = at
        place = Place(file, line, at - line_start + 1)
        message = f"the character U+{ord(match[0]):04X} can't be seen and is not allowed"
        problems.append(Problem("control-character", Severity.ERROR, place, message, "remove it"))
    return problems
