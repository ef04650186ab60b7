"""Reading one mapping of the rules file: known keys, values of the right kind, problems.

Always true: a mistake is reported once, where it stands, and reading goes on as if it had not been
made: a misspelt key counts as the nearest known one, so that one mistake gives one problem.

Must not know: which keys exist (callers pass them) or what values mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

from router.config import opening
from router.config.bounds import PROBLEMS
from router.config.document import Collection, Document, Mapping, Node, Scalar, Sequence
from router.config.model import Place
from router.config.opening import Opener
from router.config.problems import Problem, Severity, quoted
from router.config.spelling import nearest

MEANT = 0.7
"""From this likeness on (difflib's ratio) a misspelt key is read as the nearest known one."""


OpenFile = Callable[[Path], AbstractContextManager[opening.OpenFile]]


class TooManyProblems(Exception):
    """There are more errors than PROBLEMS, which has been reported."""


class Findings:
    """The problems of one document, collected in the order in which they are found.

    What reports an error raises TooManyProblems where there are PROBLEMS of them; further warnings
    are not kept.

    open_file: opens what else the document names, see Opener.open.
    """

    def __init__(self, document: Document, open_file: OpenFile | None = None) -> None:
        self.document = document
        self.open_file: OpenFile = open_file or Opener().open
        self.problems: list[Problem] = []
        self._found = dict.fromkeys(Severity, 0)
        self.passed_over: set[str] = set()
        """Words in values that were not read because of another mistake: what they name counts as
        used, so that one mistake doesn't cause a second report."""

    def place(self, node: Node) -> Place:
        return self.document.place(node)

    def error(self, code: str, where: Node | Place, message: str, remedy: str) -> None:
        self._add(code, Severity.ERROR, where, message, remedy)

    def warning(self, code: str, where: Node | Place, message: str, remedy: str) -> None:
        self._add(code, Severity.WARNING, where, message, remedy)

    def secret_error(self, code: str, where: Node, message: str, remedy: str) -> None:
        """An error whose line is not shown."""
        place = self.place(where)
        self.add([Problem(code, Severity.ERROR, place, message, remedy, shows_line=False)])

    def pass_over(self, node: Node, depth: int = 4) -> None:
        """Note the words of a value that is not read."""
        if isinstance(node, Scalar):
            self.passed_over.add(node.text)
        elif isinstance(node, Collection) and depth:
            for child in node.children:
                self.pass_over(child, depth - 1)

    def _add(
        self, code: str, severity: Severity, where: Node | Place, message: str, remedy: str
    ) -> None:
        place = self.place(where) if isinstance(where, Node) else where
        self.add([Problem(code, severity, place, message, remedy)])

    def add(self, problems: Iterable[Problem]) -> None:
        """Problems that were found elsewhere."""
        for problem in problems:
            severity = problem.severity
            self._found[severity] += 1
            if self._found[severity] <= PROBLEMS:
                self.problems.append(problem)
                continue
            if self._found[severity] == PROBLEMS + 1:
                self.problems.append(_too_many(severity, problem.place))
            if severity is Severity.ERROR:
                raise TooManyProblems


def _too_many(severity: Severity, place: Place | None) -> Problem:
    unread = severity is Severity.ERROR
    rest = "what follows has not been read" if unread else "further ones are not shown"
    message = f"more than {PROBLEMS:,} {severity}s: {rest}"
    remedy = "is this the file that was meant? mend these first"
    return Problem("too-many-problems", severity, place, message, remedy)


class Entry(NamedTuple):
    """A key and its value, as nodes."""

    key: Scalar
    value: Node


def read_keys(
    findings: Findings, node: Mapping, known: tuple[str, ...], owner: str
) -> dict[str, Entry]:
    """The entries of a mapping by known key. Unknown and repeated keys are reported.

    `owner` is the owner of the keys ("a rule"). A key that is nearly a known one, which is absent,
    stands for it.
    """
    entries: dict[str, Entry] = {}
    strangers: list[Entry] = []
    for name, entry in named_entries(findings, node):
        if name in known:
            entries[name] = entry
        else:
            strangers.append(entry)
    for entry in strangers:
        _report_stranger(findings, entry, known, owner)
        meant = nearest(entry.key.text, known, MEANT)
        if meant is not None:
            meant_entry = entries.setdefault(meant, entry)
        if meant is None or meant_entry is not entry:
            findings.pass_over(entry.value)
    return entries


def named_entries(findings: Findings, node: Mapping) -> list[tuple[str, Entry]]:
    """The entries of a mapping, each key once. Repetitions and keys without a name are reported."""
    seen: dict[str, Entry] = {}
    for key, value in node.entries():
        if not isinstance(key, Scalar):
            findings.error(
                "wrong-type", key, "a key must be a word, not a list or mapping", "write 'key: …'"
            )
        elif key.text in seen:
            first = seen[key.text].key.line
            findings.error(
                "duplicate-key",
                key,
                f"the key {quoted(key.text)} is already on line {first}",
                "remove one of the two, or join their values",
            )
            findings.pass_over(value)
        else:
            seen[key.text] = Entry(key, value)
    return list(seen.items())


def _report_stranger(findings: Findings, entry: Entry, known: tuple[str, ...], owner: str) -> None:
    close = nearest(entry.key.text, known)
    remedy = f"did you mean '{close}'? " if close else ""
    if entry.key.text == "<<":
        remedy = "merge keys are not supported: write the keys out; "
    findings.error(
        "unknown-key",
        entry.key,
        f"{owner} has no key {quoted(entry.key.text)}",
        f"{remedy}the keys are {listed(known)}",
    )


def listed(words: Iterable[str]) -> str:
    return ", ".join(words)


def missing_key(findings: Findings, where: Node | Place, key: str, owner: str, sample: str) -> None:
    findings.error("missing-key", where, f"{owner} needs '{key}'", f"add '{sample}'")


def kind_of(node: Node) -> str:
    """What a value is, in words."""
    if isinstance(node, Sequence):
        return "a list"
    if isinstance(node, Mapping):
        return "a mapping"
    if isinstance(node, Scalar) and node.empty:
        return "nothing"
    if isinstance(node, Scalar) and not node.plain:
        return f"the text {quoted(node.text)} in quotes"
    return f"the value {quoted(node.text)}" if isinstance(node, Scalar) else "a value"


def wrong_type(findings: Findings, node: Node, what: str, wanted: str, sample: str) -> None:
    """`what` must be `wanted` ("a list") and is something else; `sample` shows how to write it."""
    message = f"{what} must be {wanted}, not {kind_of(node)}"
    findings.error("wrong-type", node, message, f"write it as {sample}")
    findings.pass_over(node)


def as_text(findings: Findings, node: Node, what: str, sample: str) -> str | None:
    """The text of a single value; None after a report where it is a collection or nothing."""
    if isinstance(node, Scalar) and not node.empty:
        return node.text
    wrong_type(findings, node, what, "one value", f"'{sample}'")
    return None


def as_items(
    findings: Findings, node: Node, what: str, sample: str, nothing: str | None = "wrong-type"
) -> list[Scalar]:
    """The values of "one or a list". Those of the wrong kind, and an empty list, are reported.

    `nothing` is the code for an empty list.
    """
    nodes = node.children if isinstance(node, Sequence) else [node]
    if not nodes and nothing is not None:
        findings.error(nothing, node, f"{what} names nothing", f"write '{sample}'")
    items = []
    for item in nodes:
        if as_text(findings, item, what, sample) is not None:
            assert isinstance(item, Scalar)
            items.append(item)
    return items


def as_mapping(findings: Findings, node: Node, what: str, sample: str) -> Mapping | None:
    if isinstance(node, Mapping):
        return node
    wrong_type(findings, node, what, "a mapping", sample)
    return None


def is_nothing(node: Node) -> bool:
    """A key with nothing behind it, as when all it held has been commented out."""
    return isinstance(node, Scalar) and node.empty
