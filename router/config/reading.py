"""The bytes of a rules file as text in which places can be counted.

Always true: the text ends its lines with a newline and nothing else, has no byte order mark, and
holds nothing that YAML parsers disagree about or that can't be seen.

Must not know: YAML.
"""

from __future__ import annotations

import re
from io import BufferedReader
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from router.config.bounds import RULES_BYTES
from router.config.model import Place
from router.config.opening import ChangedError, Opener, UntrustedError
from router.config.problems import Problem, Severity
from router.config.trust import Fault, NotRegularError

REPORTED = 100
"""Characters that are reported one by one; a file with more of them is no text file."""

RULES_FILE = "rules file"
MISSING = "name another with -c, or create it"
UNREADABLE = "check the path, and the limits of open files and of memory (`ulimit -a`)"

UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
"""What YAML forbids, with the line breaks that editors don't count as such (U+0085, U+2028,
U+2029) and byte order marks within the text. A set of what is forbidden compiles in a tenth of
the time of one of all that is allowed."""


class RulesFileUnreadable(Exception):
    """The rules file can't be read at all. `problems` have the reasons and the remedies."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(problems[0].message)
        self.problems = list(problems)


class RulesFileChanged(RulesFileUnreadable):
    """It was written to while it was read."""


class RulesBytes(NamedTuple):
    """A rules file as it was read. `by_user`, `warnings`: see OpenFile; the faults as problems."""

    data: bytes
    by_user: bool
    warnings: list[Problem]


def read_bytes(
    path: Path, opener: Opener, what: str = RULES_FILE, *, named_by_user: bool = False
) -> RulesBytes:
    """The whole file. `what` it is, for messages; `named_by_user`: see router.config.trust.follow.

    Raises RulesFileUnreadable where there is none, or none to be read."""
    try:
        pipe = opener.open_pipe(path)
        if pipe is not None:
            with pipe:
                return RulesBytes(_read_all(path, pipe, what), by_user=False, warnings=[])
        with opener.open(path, named_by_user=named_by_user) as opened:
            if opened.found.st_size > RULES_BYTES:
                raise _too_large(path, what)
            data = _read_all(path, opened.raw, what)
            opened.check_unchanged()
        warnings = [untrusted(each, Severity.WARNING) for each in opened.faults]
        return RulesBytes(data, opened.by_user, warnings)
    except UntrustedError as error:
        raise RulesFileUnreadable(
            *(untrusted(each, Severity.ERROR) for each in error.faults)
        ) from None
    except NotRegularError as error:
        name = f"name the file, as {path}/rules.yaml" if path.is_dir() else "name a file with rules"
        raise _unreadable(path, str(error), name, what) from None
    except ChangedError:
        raise RulesFileChanged(changed(f"the {what} {path}", None)) from None
    except FileNotFoundError:
        remedy = MISSING if what == RULES_FILE else "correct its name"
        raise _unreadable(path, "does not exist", remedy, what) from None
    except PermissionError:
        remedy = "run as its owner, or chmod a+r it"
        raise _unreadable(path, "may not be read", remedy, what) from None
    except OSError as error:
        why = f"can't be read: {error.strerror or error}"
        raise _unreadable(path, why, UNREADABLE, what) from None
    except ValueError:  # a NUL character in the path
        raise _unreadable(path, "is not a path", "check its name", what) from None


def _read_all(path: Path, raw: BufferedReader, what: str) -> bytes:
    data = raw.read(RULES_BYTES + 1)
    if len(data) > RULES_BYTES:
        raise _too_large(path, what)
    return data


def untrusted(fault: Fault, severity: Severity, place: Place | None = None) -> Problem:
    """Root may not read a file, or may not when `run` is called by this user."""
    message = fault.what if severity is Severity.ERROR else f"{fault.what}: 'run' will refuse it"
    return Problem("untrusted-file", severity, place, message, fault.remedy)


def out_of_memory() -> Problem:
    return Problem(
        "out-of-memory",
        Severity.ERROR,
        None,
        "there is not enough memory for the rules and their lists",
        "name fewer or shorter lists, or give the program more memory (ulimit -v, MemoryMax)",
    )


def _unreadable(path: Path, why: str, remedy: str, what: str) -> RulesFileUnreadable:
    message = f"the {what} {path} {why}"
    return RulesFileUnreadable(
        Problem("unreadable-rules-file", Severity.ERROR, None, message, remedy)
    )


def _too_large(path: Path, what: str) -> RulesFileUnreadable:
    message = f"the {what} {path} has more than {RULES_BYTES:,} bytes"
    remedy = "put its networks into list files and name them with 'file:'"
    return RulesFileUnreadable(Problem("rules-too-large", Severity.ERROR, None, message, remedy))


def changed(what: str, place: Place | None) -> Problem:
    """`what` was read while it was written."""
    message = f"{what} was written to while it was read"
    remedy = "try again when it is complete; a complete file can replace another at once: 'mv' it"
    return Problem("file-changed", Severity.ERROR, place, message, remedy)


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
