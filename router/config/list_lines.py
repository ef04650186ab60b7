"""The lines of a list file: one network or range each, packed into a PrefixList.

Always true: '#' and ';' begin a comment anywhere; a bare address is one host; lists don't nest. A
file in the format of another program is named as one, once, and read no further. Of the bad
lines of one file the first REPORTED are reported one by one, then their number, so that naming the
wrong file leaves the problems of other files visible; warnings are counted apart and hide no error.

Must not know: where lines come from, rules or policies.
"""

from __future__ import annotations

import re
import shlex
import struct
import time
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from socket import AF_INET, AF_INET6, inet_pton

from router.config.bounds import LINES, NETWORKS, SECONDS
from router.config.cidr import BadCidrError, Cidr
from router.config.fields import Findings
from router.config.model import Place, PrefixList, Range
from router.config.packed import LENGTH_BITS
from router.config.problems import Problem, Severity, quoted
from router.config.ranges import BadRangeError, parse_networks
from router.config.sources import MAXIMUM_LINE, Sources

REPORTED = 100

_YAML_LIST = re.compile(r"payload[ \t]*:.*")
_JSON = re.compile(r"""\{.*|\[[ \t]*(?:["'{\[].*)?""")
_FOREIGN_RULE = re.compile(r"[A-Z][A-Z0-9]*(?:-[A-Z0-9]+)*[ \t]*,.*")
"""The first line of a rule provider of Clash, of JSON; a line of a rule set of Clash or Surge."""

SHORTEN = "remove lines without a network, or name fewer lists"
JOIN = "name fewer lists, or join their networks: tunrouter lists merge"
DISK = "are the lists on a disk that answers? name fewer or shorter ones"

# Prefix lengths as they stand behind the '/' of a tidy line, with the end that CRLF leaves.
_TAILS_V4 = {f"{n}{end}": n for n in range(33) for end in ("", "\r")}
_TAILS_V6 = {f"{n}{end}": n for n in range(129) for end in ("", "\r")}
_HOST_BITS_V4 = [(1 << (32 - n)) - 1 for n in range(33)]
_HOST_BITS_V6 = [(1 << (128 - n)) - 1 for n in range(129)]
_V4 = struct.Struct(">I").unpack


class Budget:
    """What lists that are read one after the other may have together: lines, networks, seconds."""

    def __init__(self) -> None:
        self._lines = 0
        self._networks = 0
        self._deadline = time.monotonic() + SECONDS

    def spend(self, lines: int, networks: int) -> None:
        """Raises TooMuchError."""
        self._lines += lines
        self._networks += networks
        if self._lines > LINES:
            raise TooMuchError("list-too-long", f"{LINES:,} lines", SHORTEN)
        if self._networks > NETWORKS:
            raise TooMuchError("too-many-networks", f"{NETWORKS:,} networks", JOIN)
        if time.monotonic() > self._deadline:
            raise TooMuchError("list-too-slow", f"{SECONDS:.0f} seconds to read", DISK)


class TooMuchError(Exception):
    """A list has, or all lists together have, more than is read. `bound` is how much that is."""

    def __init__(self, code: str, bound: str, remedy: str) -> None:
        super().__init__(code)
        self.code = code
        self.bound = bound
        self.remedy = remedy


class ListReader:
    """Lines in, packed networks out; what is wrong is kept as problems."""

    def __init__(self, prefixes: PrefixList, sources: Sources, budget: Budget) -> None:
        self.problems: list[Problem] = []
        self._prefixes = prefixes
        self._sources = sources
        self._budget = budget
        self._line = 0
        self._is_foreign = False
        self._has_text = False
        self._found = {Severity.ERROR: 0, Severity.WARNING: 0}

    def take(self, lines: list[str]) -> None:
        """Add the networks of some lines.

        This runs a million times in a second, so a tidy line is decided here, without a call of
        our own; everything else (comments, blanks, host bits, ranges, mistakes) goes to _untidy.
        Raises TooMuchError, for ranges at once and else after these lines.
        """
        if self._is_foreign:
            return
        before = self._prefixes.size
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
            if self._is_foreign:
                break
        self._line = number
        self._budget.spend(len(lines), self._prefixes.size - before)

    @property
    def line(self) -> int:
        """How many lines have been taken."""
        return self._line

    def finish(self, mention: Place, findings: Findings) -> None:
        """What can be said only once the whole file has been read, and rules name it."""
        file = self._prefixes.file
        self.count_rest(mention)
        if self._prefixes.empty and not self._found[Severity.ERROR]:
            message = f"no network stands in the list {quoted(file)}"
            findings.warning("empty-list", mention, message, "add one, or remove the list")
        prefixes = self._prefixes
        self._report_repeated("network", prefixes.v4, partial(prefixes.place, 4))
        self._report_repeated("network", prefixes.v6, partial(prefixes.place, 6))
        ranges = [(each.version, each.packed) for each in prefixes.ranges]
        self._report_repeated("range", ranges, lambda position: prefixes.ranges[position].place)

    def count_rest(self, mention: Place | None) -> None:
        """Once the whole file has been read: how many lines are like those that were reported."""
        for severity, code in (
            (Severity.ERROR, "bad-list-line"),
            (Severity.WARNING, "host-bits-set"),
        ):
            more = self._found[severity] - REPORTED
            if more > 0:
                file = quoted(self._prefixes.file)
                message = f"{more} more lines of {file} are like those reported"
                remedy = "is this the file that was meant?"
                self.problems.append(Problem(code, severity, mention, message, remedy))

    def _untidy(self, line: str, number: int) -> None:
        text = _without_comment(line).strip()
        if not text or self._recognised(text, (number, line)):
            return
        if text.startswith(("file:", "@", "include ", "!include")):
            message = f"{quoted(_shown(text))} would be a list within a list"
            remedy = "lists don't nest: name each file in the rules"
            self._report("nested-list", (number, line), message, remedy)
            return
        try:
            networks = parse_networks(_shown(text))
        except BadCidrError as error:
            message, remedy = self._explain(text, error)
            if message == error.message and isinstance(error, BadRangeError):
                self._report("bad-range", (number, line), message, remedy)
            else:
                self._report("bad-list-line", (number, line), message, remedy)
            return
        if len(networks) > 1:
            packed = tuple(network.packed for network in networks)
            self._line = number
            self._budget.spend(0, len(packed))
            place = Place(self._prefixes.file, number, 1)
            self._prefixes.ranges.append(Range(networks[0].version, packed, place))
        else:
            self._add(networks[0], text, (number, line))

    def _recognised(self, text: str, where: tuple[int, str]) -> bool:
        """Whether the file is one of another format, which its first line shows."""
        is_first = not (self._has_text or self._prefixes.size)
        self._has_text = True
        if not is_first or not (_YAML_LIST.fullmatch(text) or _JSON.fullmatch(text)):
            return False
        is_yaml = text.startswith("payload")
        what = "a rule provider of Clash (payload:)" if is_yaml else "JSON"
        kind = "sing-box" if text.startswith("{") else "clash"
        self._is_foreign = True
        self._report(
            "bad-list-line",
            where,
            f"the list {quoted(self._prefixes.file)} is {what}, not one network a line",
            self._converted(kind),
        )
        return True

    def _converted(self, kind: str) -> str:
        file = shlex.quote(self._prefixes.file)
        return f"tunrouter import {kind} {file} -o LIST makes a list of it: name that one"

    def _add(self, network: Cidr, text: str, where: tuple[int, str]) -> None:
        prefixes = self._prefixes
        prefixes.packed(network.version).append(network.packed)
        lines = prefixes.lines_v4 if network.version == 4 else prefixes.lines_v6
        lines.append(where[0])
        if network.host_bits:
            message = f"{quoted(text)} has host bits set; the network {network} is used"
            self._report("host-bits-set", where, message, f"write {network}")

    def _explain(self, text: str, error: BadCidrError) -> tuple[str, str]:
        if text.startswith(("- ", '"', "'")):
            message = f"{quoted(_shown(text))} is YAML, not a bare network"
            return message, "write the network alone, without dash and quotes"
        if _FOREIGN_RULE.fullmatch(text):
            message = f"{quoted(_shown(text))} is a rule of Clash or Surge, not a bare network"
            return message, self._converted("surge")
        if text.startswith("//"):
            return f"{quoted(_shown(text))} is no comment here", "begin comments with '#'"
        if not text.isascii() and not isinstance(error, BadRangeError):
            shown = _shown(text)
            return f"{quoted(shown)} is not an address", "write a network, as 10.0.0.0/8"
        return error.message, error.remedy_in_list

    def _report(self, code: str, where: tuple[int, str], message: str, remedy: str) -> None:
        """`where` is the number of the line and the line."""
        severity = Severity.WARNING if code == "host-bits-set" else Severity.ERROR
        self._found[severity] += 1
        if self._found[severity] > REPORTED:
            return
        number, line = where
        shown = _shown(line[:MAXIMUM_LINE]).rstrip("\r")
        value = _without_comment(shown)
        column = len(value) - len(value.lstrip()) + 1
        place = Place(self._prefixes.file, number, column, max(1, len(value.strip())))
        self._sources.remember(self._prefixes.file, number, shown)
        self.problems.append(Problem(code, severity, place, message, remedy))

    def _report_repeated(
        self, kind: str, found: Sequence[Hashable], place: Callable[[int], Place]
    ) -> None:
        """One warning for all repetitions of a kind within the file, at the first of them."""
        repeated = len(found) - len(set(found))
        if not repeated:
            return
        seen: dict[Hashable, int] = {}
        for position, value in enumerate(found):
            if seen.setdefault(value, position) != position:
                break
        here = place(position)
        before = place(seen[value])
        message = f"this {kind} is already on line {before.line}"
        if repeated > 1:
            message += f"; in all, {repeated} lines of this list repeat others"
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


def _without_comment(line: str) -> str:
    return line.partition("#")[0].partition(";")[0]


def _shown(text: str) -> str:
    """A line that was read as Latin-1, as the UTF-8 that it probably is."""
    return text.encode("latin-1").decode("utf-8", "replace")
