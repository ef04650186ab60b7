"""List files: one network a line, packed into a PrefixList.

Always true: a file is read once however many rules name it, in pieces, so that the memory taken is
that of the packed networks; '#' begins a comment anywhere; a bare address is one host. Of the bad
lines of one file the first REPORTED are told one by one, then their number, so that naming the
wrong file does not bury everything else. Lists don't nest.

Must not know: rules or policies.
"""

from __future__ import annotations

import errno
import gzip
import stat
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from socket import AF_INET, AF_INET6, inet_pton
from typing import IO, Any

from router.config.cidr import BadCidrError, parse_cidr
from router.config.document import Scalar
from router.config.fields import Findings
from router.config.model import LENGTH_BITS, Place, PrefixList
from router.config.problems import Problem, Severity, quoted
from router.config.sources import MAXIMUM_LINE, Sources

Progress = Callable[[int, int], None]
"""Called with the bytes read so far and the bytes of all list files together."""

REPORTED = 100
PIECE = 1 << 20
"""Bytes read at once, and so how often progress is told."""

GZIP_MAGIC = b"\x1f\x8b"

# Prefix lengths as they stand behind the '/' of a tidy line, with the end that CRLF leaves.
_TAILS_V4 = {f"{n}{end}": n for n in range(33) for end in ("", "\r")}
_TAILS_V6 = {f"{n}{end}": n for n in range(129) for end in ("", "\r")}
_HOST_BITS_V4 = [(1 << (32 - n)) - 1 for n in range(33)]
_HOST_BITS_V6 = [(1 << (128 - n)) - 1 for n in range(129)]
_V4 = struct.Struct(">I").unpack


class ListError(Exception):
    """A list file that can't be read (further)."""


@dataclass(slots=True)
class _Listed:
    """A list file that rules name, to be read. `mention` is where it is named first."""

    path: Path
    size: int
    prefixes: PrefixList
    mention: Place


class ListLibrary:
    """The list files that the rules name, each once."""

    def __init__(self, findings: Findings, rules_path: Path, sources: Sources) -> None:
        self._findings = findings
        self._rules_path = rules_path
        self._sources = sources
        self._listed: dict[tuple[int, int], _Listed] = {}

    def refer(self, node: Scalar) -> PrefixList | None:
        """The list of a file named in the rules, to be filled by read_all.

        None, after a report, where there is no such file or it can't be a list.
        """
        try:
            path = self._rules_path.parent / node.text
            found = path.stat()
        except (OSError, ValueError) as error:
            self._report_unopened(node, error)
            return None
        if self._is_rules_file(found.st_dev, found.st_ino):
            self._findings.error(
                "list-loop",
                node,
                f"the list {quoted(node.text)} is the rules file itself",
                "name a file with one network a line",
            )
            return None
        if not stat.S_ISREG(found.st_mode):
            what = "a directory" if stat.S_ISDIR(found.st_mode) else "not a regular file"
            self._unreadable(node, f"is {what}", "name a file with one network a line")
            return None
        identity = (found.st_dev, found.st_ino)
        if identity not in self._listed:
            prefixes = PrefixList(str(path))
            mention = self._findings.place(node)
            self._listed[identity] = _Listed(path, found.st_size, prefixes, mention)
            self._sources.add_list(prefixes.file, path)
        return self._listed[identity].prefixes

    def read_all(self, progress: Progress | None) -> None:
        """Fill every list that was referred to, in that order, and report what is wrong in them."""
        total = sum(each.size for each in self._listed.values())
        done = 0
        for each in self._listed.values():
            self._read(each, progress, done, total)
            done += each.size
        if progress is not None and self._listed:
            progress(total, total)

    def _read(self, each: _Listed, progress: Progress | None, done: int, total: int) -> None:
        reader = _ListReader(each.prefixes, self._sources)
        try:
            for position, lines in _pieces(each.path):
                reader.take(lines)
                if progress is not None:
                    progress(min(done + position, total), total)
        except PermissionError:
            self._unreadable(each.mention, "may not be read", "chmod a+r it", each.prefixes.file)
        except (OSError, EOFError, zlib.error, ListError) as error:
            why = f"can't be read: {_reason(error)}"
            self._unreadable(each.mention, why, "make the file anew", each.prefixes.file)
        else:
            reader.finish(each.mention, self._findings)
        self._findings.problems += reader.problems

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
            self._unreadable(node, "may not be read", "chmod its directories a+x")
        else:
            self._unreadable(node, f"can't be read: {_reason(error)}", "correct the path")

    def _unreadable(self, where: Scalar | Place, why: str, remedy: str, name: str = "") -> None:
        name = where.text if isinstance(where, Scalar) else name
        message = f"the list {quoted(name)} {why}"
        self._findings.error("unreadable-list", where, message, remedy)


def _reason(error: Exception) -> str:
    if isinstance(error, EOFError):
        return "the compressed data ends too soon"
    if isinstance(error, (zlib.error, gzip.BadGzipFile)):
        return "the compressed data is damaged"
    if isinstance(error, OSError):
        return error.strerror or "input/output error"
    return str(error).replace("embedded null byte", "the path has a NUL character")


def _pieces(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The lines of a plain or compressed file, some thousands at a time.

    Yields the position in the file (in bytes, compressed ones where it is) and the lines without
    their newline. Lines are Latin-1 text, which can't fail and is right for all that may be meant
    as a network. Raises OSError, EOFError, zlib.error, ListError.
    """
    with path.open("rb") as raw:
        stream = _unpacked(path, raw)
        rest = ""
        first = True
        while piece := stream.read(PIECE):
            if first:
                _refuse_utf16(piece)
                piece = piece.removeprefix(b"\xef\xbb\xbf")
                first = False
            lines = (rest + piece.decode("latin-1")).split("\n")
            rest = lines.pop()
            if len(rest) > MAXIMUM_LINE:
                raise ListError(f"it has a line of more than {MAXIMUM_LINE} bytes")
            yield raw.tell(), lines
        if rest:
            yield raw.tell(), [rest]


def _unpacked(path: Path, raw: Any) -> IO[bytes]:
    if raw.peek(2)[:2] == GZIP_MAGIC or path.suffix == ".gz":
        return gzip.GzipFile(fileobj=raw)  # type: ignore[return-value]
    return raw  # type: ignore[no-any-return]


def _refuse_utf16(piece: bytes) -> None:
    if piece[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise ListError("it is UTF-16; save it as UTF-8")


class _ListReader:
    """Lines in, packed networks out; what is wrong is kept as problems."""

    def __init__(self, prefixes: PrefixList, sources: Sources) -> None:
        self.problems: list[Problem] = []
        self._prefixes = prefixes
        self._sources = sources
        self._line = 0
        self._found = {Severity.ERROR: 0, Severity.WARNING: 0}

    def take(self, lines: list[str]) -> None:
        """Add the networks of some lines.

        This runs a million times in a second, so a tidy line is decided here, without a call of
        our own; everything else (comments, blanks, host bits, mistakes) goes to _untidy.
        """
        add_v4, add_line_v4 = self._prefixes.v4.append, self._prefixes.lines_v4.append
        add_v6, add_line_v6 = self._prefixes.v6.append, self._prefixes.lines_v6.append
        number = self._line
        for line in lines:
            number += 1
            host, slash, tail = line.partition("/")
            try:
                if ":" in host:
                    length = _TAILS_V6[tail] if slash else 128
                    first = int.from_bytes(inet_pton(AF_INET6, host if slash else host.rstrip()))
                    if not first & _HOST_BITS_V6[length]:
                        add_v6(first << LENGTH_BITS | length)
                        add_line_v6(number)
                        continue
                else:
                    length = _TAILS_V4[tail] if slash else 32
                    (first,) = _V4(inet_pton(AF_INET, host if slash else host.rstrip()))
                    if not first & _HOST_BITS_V4[length]:
                        add_v4(first << LENGTH_BITS | length)
                        add_line_v4(number)
                        continue
            except (KeyError, OSError, ValueError):
                pass
            self._untidy(line, number)
        self._line = number

    def finish(self, mention: Place, findings: Findings) -> None:
        """What can be said only once the whole file has been read."""
        file = self._prefixes.file
        for severity, code in (
            (Severity.ERROR, "bad-list-line"),
            (Severity.WARNING, "host-bits-set"),
        ):
            more = self._found[severity] - REPORTED
            if more > 0:
                message = f"{more} more lines of {quoted(file)} are like those reported"
                remedy = "is this the file that was meant?"
                self.problems.append(Problem(code, severity, mention, message, remedy))
        if not self._prefixes.v4 and not self._prefixes.v6 and not self._found[Severity.ERROR]:
            message = f"no network stands in the list {quoted(file)}"
            findings.warning("empty-list", mention, message, "add one, or remove the list")
        self._report_repeated(4)
        self._report_repeated(6)

    def _untidy(self, line: str, number: int) -> None:
        text = line.partition("#")[0].strip()
        if not text:
            return
        if text.startswith(("file:", "@", "include ", "!include")):
            message = f"{quoted(_shown(text))} would be a list within a list"
            remedy = "lists don't nest: name each file in the rules"
            self._report("nested-list", (number, line), message, remedy)
            return
        try:
            cidr = parse_cidr(text)
        except BadCidrError as error:
            message, remedy = self._explain(text, error)
            self._report("bad-list-line", (number, line), message, remedy)
            return
        packed = cidr.first << LENGTH_BITS | cidr.length
        self._prefixes.packed(cidr.version).append(packed)
        lines = self._prefixes.lines_v4 if cidr.version == 4 else self._prefixes.lines_v6
        lines.append(number)
        if cidr.host_bits:
            message = f"{quoted(text)} has host bits set; the network {cidr} is used"
            self._report("host-bits-set", (number, line), message, f"write {cidr}")

    def _explain(self, text: str, error: BadCidrError) -> tuple[str, str]:
        if text.startswith(("- ", '"', "'")):
            message = f"{quoted(_shown(text))} is YAML, not a bare network"
            return message, "write the network alone, without dash and quotes"
        if not text.isascii():
            shown = _shown(text)
            return f"{quoted(shown)} is not an address", "write a network, as 10.0.0.0/8"
        return error.message, error.remedy

    def _report(self, code: str, where: tuple[int, str], message: str, remedy: str) -> None:
        """`where` is the number of the line and the line."""
        severity = Severity.WARNING if code == "host-bits-set" else Severity.ERROR
        self._found[severity] += 1
        if self._found[severity] > REPORTED:
            return
        number, line = where
        shown = _shown(line[:MAXIMUM_LINE]).rstrip("\r")
        value = shown.partition("#")[0]
        column = len(value) - len(value.lstrip()) + 1
        place = Place(self._prefixes.file, number, column, max(1, len(value.strip())))
        self._sources.remember(self._prefixes.file, number, shown)
        self.problems.append(Problem(code, severity, place, message, remedy))

    def _report_repeated(self, version: int) -> None:
        """One warning for all repetitions of a family within the file, at the first of them."""
        packed = self._prefixes.packed(version)
        repeated = len(packed) - len(set(packed))
        if not repeated:
            return
        seen: dict[int, int] = {}
        for position, value in enumerate(packed):
            if seen.setdefault(value, position) != position:
                break
        here = self._prefixes.place(version, position)
        before = self._prefixes.place(version, seen[value])
        more = f", and {repeated - 1} more lines repeat others" if repeated > 1 else ""
        message = f"this network is already on line {before.line}{more}"
        width = len(self._sources.line(here.file, here.line) or " ")
        self.problems.append(
            Problem(
                "duplicate-cidr",
                Severity.WARNING,
                here._replace(width=width),
                message,
                "remove the repetition ('sort -u' removes all)",
            )
        )


def _shown(text: str) -> str:
    """A line that was read as Latin-1, as the UTF-8 that it probably is."""
    return text.encode("latin-1").decode("utf-8", "replace")
