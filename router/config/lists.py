"""List files: finding them, and reading them in pieces.

Always true: a file is read once however many rules name it, and never held as a whole; rules name
regular files alone. Reading ends with the file; that of a pipe or a device, which the command line
may name, when its writer closes it or at a line of more than MAXIMUM_LINE bytes. What lines mean
is for list_lines to say.

Must not know: rules or policies.
"""

from __future__ import annotations

import errno
import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from io import BufferedReader
from pathlib import Path

from router.config.bounds import LIST_BYTES
from router.config.document import Scalar
from router.config.fields import Findings
from router.config.list_lines import Budget, ListReader, TooMuchError
from router.config.model import Place, PrefixList
from router.config.opening import ChangedError, Opener, UntrustedError
from router.config.problems import Problem, Severity, quoted
from router.config.reading import changed, untrusted
from router.config.sources import MAXIMUM_LINE, Sources
from router.config.trust import Fault, NotRegularError

Progress = Callable[[int, int], None]
"""Called with the bytes read so far and the bytes of all list files together."""

PIECE = 1 << 20
"""Bytes read at once, and so how often progress is reported."""

GZIP_MAGIC = b"\x1f\x8b"

SPLIT = "remove comments and repetitions ('sort -u'), or split it into several lists"


class ListError(Exception):
    """A list file that can't be read (further)."""


READING_ERRORS = (OSError, EOFError, zlib.error, ListError)
"""What `pieces` raises, besides TooMuchError."""


@dataclass(slots=True)
class _Listed:
    """A list file that rules name, to be read. `mention` is where it is named first."""

    path: Path
    size: int
    prefixes: PrefixList
    mention: Place


class ListLibrary:
    """The list files that the rules name, each once.

    named_by_user: see router.config.trust.follow.
    """

    def __init__(
        self,
        findings: Findings,
        rules_path: Path,
        sources: Sources,
        opener: Opener,
        *,
        named_by_user: bool,
    ) -> None:
        self._findings = findings
        self._rules_path = rules_path
        self._sources = sources
        self._open = partial(opener.open, named_by_user=named_by_user)
        self._listed: dict[tuple[int, int], _Listed] = {}
        self._faults: set[Fault] = set()

    def refer(self, node: Scalar) -> PrefixList | None:
        """The list of a file named in the rules, to be filled by read_all.

        None, after a report, where there is no such file or it can't be a list.
        """
        try:
            path = self._rules_path.parent / node.text
            with self._open(path) as opened:
                found, faults = opened.found, opened.faults
        except UntrustedError as error:
            self._report_untrusted(node, error.faults, Severity.ERROR)
            return None
        except NotRegularError as error:
            self._unreadable(node, str(error), "name a file with one network or range a line")
            return None
        except (OSError, ValueError) as error:
            self._report_unopened(node, error)
            return None
        self._report_untrusted(node, faults, Severity.WARNING)
        if self._is_rules_file(found.st_dev, found.st_ino):
            self._findings.error(
                "list-loop",
                node,
                f"the list {quoted(node.text)} is the rules file itself",
                "name a file with one network or range a line",
            )
            return None
        identity = (found.st_dev, found.st_ino)
        if identity not in self._listed:
            prefixes = PrefixList(str(path))
            mention = self._findings.place(node)
            self._listed[identity] = _Listed(path, found.st_size, prefixes, mention)
            self._sources.add_list(prefixes.file, partial(self._open, path))
        return self._listed[identity].prefixes

    def read_all(self, progress: Progress | None) -> None:
        """Fill every list that was referred to, in that order, and report what is wrong in them."""
        total = sum(each.size for each in self._listed.values())
        done = 0
        budget = Budget()
        for each in self._listed.values():
            if not self._read(each, progress, done, total, budget):
                return
            done += each.size
        if progress is not None and self._listed:
            progress(total, total)

    def _read(
        self, each: _Listed, progress: Progress | None, done: int, total: int, budget: Budget
    ) -> bool:
        """Whether further lists may be read."""
        reader = ListReader(each.prefixes, self._sources, budget)
        file, mention = each.prefixes.file, each.mention
        goes_on = True
        try:
            with self._open(each.path) as opened:
                for lines in pieces(opened.raw, zipped=each.path.suffix == ".gz"):
                    reader.take(lines)
                    if progress is not None:
                        progress(min(done + opened.raw.tell(), total), total)
                opened.check_unchanged()
        except TooMuchError as error:
            self._findings.add([too_much(error, file, reader.line, mention)])
            goes_on = error.code == "list-too-large"
        except UntrustedError as error:
            self._report_untrusted(mention, error.faults, Severity.ERROR)
        except NotRegularError as error:
            self._unreadable(mention, str(error), "write the file again", file)
        except ChangedError:
            self._findings.add([changed(f"the list {quoted(file)}", mention)])
        except PermissionError:
            self._unreadable(mention, "may not be read", "chmod a+r it", file)
        except READING_ERRORS as error:
            self._unreadable(
                mention, f"can't be read: {reason(error)}", "write the file again", file
            )
        else:
            reader.finish(mention, self._findings)
        self._findings.add(reader.problems)
        return goes_on

    def _report_untrusted(
        self, where: Scalar | Place, faults: Iterable[Fault], severity: Severity
    ) -> None:
        """Each once: lists have directories in common."""
        place = where if isinstance(where, Place) else self._findings.place(where)
        new = [fault for fault in faults if fault not in self._faults]
        self._faults.update(new)
        self._findings.add(untrusted(fault, severity, place) for fault in new)

    def _is_rules_file(self, device: int, inode: int) -> bool:
        try:
            rules = self._rules_path.stat()
        except (OSError, ValueError):
            return False
        return (rules.st_dev, rules.st_ino) == (device, inode)

    def _report_unopened(self, node: Scalar, error: OSError | ValueError) -> None:
        number = error.errno if isinstance(error, OSError) else None
        if number in (errno.ENOENT, errno.ENOTDIR):
            self._findings.error(
                "missing-list",
                node,
                f"there is no list file {quoted(node.text)}",
                f"paths are relative to {self._rules_path.parent}/; create it or correct the path",
            )
        elif number == errno.ELOOP:
            self._findings.error(
                "list-loop",
                node,
                f"the list {quoted(node.text)} is a symbolic link that leads to itself",
                "let the link point to a file",
            )
        elif number == errno.EACCES:
            self._unreadable(node, "may not be read", "chmod a+r it, and its directories a+x")
        else:
            self._unreadable(node, f"can't be read: {reason(error)}", "correct the path")

    def _unreadable(self, where: Scalar | Place, why: str, remedy: str, name: str = "") -> None:
        name = where.text if isinstance(where, Scalar) else name
        message = f"the list {quoted(name)} {why}"
        self._findings.error("unreadable-list", where, message, remedy)


def reason(error: Exception) -> str:
    """Why a list can't be opened or read, in words, of an error that `pieces` raises or open()."""
    if isinstance(error, EOFError):
        return "the compressed data ends too soon"
    if isinstance(error, (zlib.error, gzip.BadGzipFile)):
        return "the compressed data is damaged"
    if isinstance(error, OSError):
        return error.strerror or "input/output error"
    if isinstance(error, ListError):
        return str(error)
    return "the path has a character that none can have"


def pieces(raw: BufferedReader, *, zipped: bool = False) -> Iterator[list[str]]:
    """The lines of a plain or compressed file, some thousands at a time, without their newline.

    `zipped`: it must be compressed; else it may be. Lines are Latin-1 text, which can't fail and is
    right for all that may be meant as a network. Raises OSError, EOFError, zlib.error, ListError,
    TooMuchError.
    """
    size = 0
    zipped = zipped or raw.peek(2)[:2] == GZIP_MAGIC
    stream = gzip.GzipFile(fileobj=raw) if zipped else raw
    rest = ""
    first = True
    while piece := stream.read(PIECE):
        size += len(piece)
        if size > LIST_BYTES:
            unpacked = "unpacked " if zipped else ""
            raise TooMuchError("list-too-large", f"{LIST_BYTES:,} {unpacked}bytes", SPLIT)
        if first:
            _refuse_utf16(piece)
            piece = piece.removeprefix(b"\xef\xbb\xbf")
            first = False
        lines = (rest + piece.decode("latin-1")).split("\n")
        rest = lines.pop()
        if len(rest) > MAXIMUM_LINE:
            raise ListError(f"it has a line of more than {MAXIMUM_LINE} bytes")
        yield lines
    if rest:
        yield [rest]


def too_much(error: TooMuchError, file: str, line: int, place: Place | None) -> Problem:
    """`line`: the last one of the file that was read."""
    message = f"the list {quoted(file)} has more than {error.bound}"
    if error.code != "list-too-large":
        upto = f"up to line {line:,} of {quoted(file)}"
        message = f"the lists, {upto}, have more than {error.bound}"
    return Problem(error.code, Severity.ERROR, place, message, error.remedy)


def _refuse_utf16(piece: bytes) -> None:
    if piece[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise ListError("it is UTF-16; save it as UTF-8")
