"""YAML text as nodes that know their place.

Always true: a scalar is the raw text that stands in the file, never what YAML 1.1 makes of it (a
policy may be called `no`, and 1:2:3:4:5:6:7:8 is an address, not a number to base 60). The tree is
built from the parser's events, so nesting costs no recursion; nesting and what aliases expand to
are bounded, so that a small file can't fill the memory. libyaml's parser is used where PyYAML has
it, PyYAML's own otherwise; nothing else depends on which of the two it is.

Must not know: what a rules file may say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import yaml
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.scanner import Scanner

from router.config.bounds import REPEATED, VALUES
from router.config.model import Place
from router.config.problems import Problem, Severity, quoted
from router.config.syntax import CLOSE_BRACKETS, MAXIMUM_DEPTH, TOO_DEEP, explain_syntax
from router.config.text import harmless

NULLS = ("", "~", "null", "Null", "NULL")
STANDARD_TAGS = "tag:yaml.org,2002:"


class Node:
    """Where a value stands: line and column from 1, width in characters on its first line."""

    __slots__ = ("column", "line", "width")

    def __init__(self, line: int, column: int, width: int) -> None:
        self.line = line
        self.column = column
        self.width = width


class Scalar(Node):
    """One value. `plain` says that it stands without quotes."""

    __slots__ = ("plain", "text")

    def __init__(self, text: str, plain: bool, line: int, column: int, width: int) -> None:
        self.text = text
        self.plain = plain
        self.line = line
        self.column = column
        self.width = width

    @property
    def empty(self) -> bool:
        """Whether YAML takes it for no value at all."""
        return self.plain and self.text in NULLS


class Collection(Node):
    """A sequence or mapping. `span` is where its text begins and ends."""

    __slots__ = ("children", "span")

    def __init__(self, line: int, column: int) -> None:
        super().__init__(line, column, 1)
        self.children: list[Node] = []
        self.span = (0, 0)


class Sequence(Collection):
    __slots__ = ()


class Mapping(Collection):
    """`children` holds keys and values in turn."""

    __slots__ = ()

    def entries(self) -> Iterator[tuple[Node, Node]]:
        each = iter(self.children)
        return zip(each, each, strict=True)


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file. `root` is None when nothing but comments stands in it."""

    file: str
    text: str
    root: Node | None

    def place(self, node: Node) -> Place:
        return Place(self.file, node.line, node.column, node.width)

    def one_line(self, node: Collection, limit: int = 200) -> str:
        """The value as it stands in the file, on one line; block style is shown as flow style."""
        begin, end = node.span
        written = self.text[begin:end]
        if written[:1] in ("{", "[") and "\n" not in written:
            shown = harmless(written)
        else:
            shown = _flow(node, depth=4)
        return shown if len(shown) <= limit else shown[: limit - 1] + "…"


class SyntaxProblemError(Exception):
    """The text is no YAML document that could be read further."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


class EventSource(Protocol):
    def get_event(self) -> Any: ...


class PythonParser(Reader, Scanner, Parser):
    """PyYAML's parser in Python, without the parts that give values a meaning."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)


def fastest_parser(text: str) -> EventSource:
    if not yaml.__with_libyaml__:
        return PythonParser(text)
    parser: EventSource = yaml.cyaml.CParser(text)  # type: ignore[attr-defined]
    return parser


def parse_document(file: str, text: str, pure_python: bool = False) -> Document:
    """Compose the one document of a text whose lines end in a newline and nothing else.

    `pure_python` keeps libyaml out even where it is there. Raises SyntaxProblemError.
    """
    parser = PythonParser(text) if pure_python else fastest_parser(text)
    composer = _Composer(file, text)
    try:
        root = composer.compose(parser)
    except yaml.MarkedYAMLError as error:
        raise SyntaxProblemError(explain_syntax(file, text, error)) from None
    except (yaml.YAMLError, ValueError, OverflowError):
        # A %YAML directive or an escape such as "\UFFFFFFFF". Only PyYAML's parser gets here.
        message = "a number in an escape or a directive is out of bounds"
        place = Place(file, getattr(parser, "line", 0) + 1, 1)
        raise SyntaxProblemError(
            Problem("yaml-syntax", Severity.ERROR, place, message, "correct the number")
        ) from None
    return Document(file, text, root)


class _Composer:
    """Events in, nodes out. What is open stands on a stack, the innermost last."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.text = text
        self.open: list[Collection] = []
        self.anchors: dict[str, tuple[Node, int]] = {}
        self.unfinished: list[tuple[str | None, int]] = []
        self.weight = 0
        self.aliased = 0
        self.root: Node | None = None

    def compose(self, parser: EventSource) -> Node | None:
        documents = 0
        while True:
            event = parser.get_event()
            kind = type(event)
            if kind is yaml.ScalarEvent:
                self._scalar(event)
            elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                self._begin(event, Mapping if kind is yaml.MappingStartEvent else Sequence)
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                self._finish(event)
            elif kind is yaml.AliasEvent:
                self._alias(event)
            elif kind is yaml.DocumentStartEvent:
                documents += 1
                if documents > 1:
                    self._refuse_second(event)
            elif kind is yaml.StreamEndEvent:
                return self.root

    def _scalar(self, event: Any) -> None:
        begin, end = event.start_mark, event.end_mark
        if begin.line == end.line:
            width = end.column - begin.column or 1
        else:
            width = self._rest_of_line(begin.index)
        plain = not event.style
        column = begin.column + 1
        if plain and not event.value:
            # The parsers differ in how many of the blanks they take for a value that is not there.
            while column > 1 and self.text[begin.index - begin.column + column - 2] == " ":
                column -= 1
        node = Scalar(event.value, plain, begin.line + 1, column, width)
        self.weight += 1
        if self.weight > VALUES:
            self._refuse_more(begin)
        if event.tag is not None:
            self._check_tag(event)
        if event.anchor is not None:
            self.anchors[event.anchor] = (node, 1)
        self._attach(node)

    def _begin(self, event: Any, kind: type[Collection]) -> None:
        mark = event.start_mark
        if len(self.open) >= MAXIMUM_DEPTH:
            self._refuse(
                mark,
                "yaml-syntax",
                TOO_DEEP,
                CLOSE_BRACKETS,
            )
        if event.tag is not None:
            self._check_tag(event)
        node = kind(mark.line + 1, mark.column + 1)
        node.span = (mark.index, mark.index)
        self.unfinished.append((event.anchor, self.weight))
        self.weight += 1
        if self.weight > VALUES:
            self._refuse_more(mark)
        self._attach(node)
        self.open.append(node)

    def _finish(self, event: Any) -> None:
        node = self.open.pop()
        begin, end = node.span[0], event.end_mark.index
        node.span = (begin, end)
        if event.end_mark.line + 1 == node.line:
            node.width = max(1, len(self.text[begin:end].rstrip()))
        else:
            node.width = self._rest_of_line(begin)
        anchor, before = self.unfinished.pop()
        if anchor is not None:
            self.anchors[anchor] = (node, self.weight - before)

    def _alias(self, event: Any) -> None:
        mark = event.start_mark
        known = self.anchors.get(event.anchor)
        if known is None:
            self._refuse(
                mark,
                "yaml-syntax",
                f"nothing before this is marked &{harmless(event.anchor)}",
                "quote a value that begins with '*'; an alias needs its anchor before it",
            )
        node, weight = known
        self.weight += weight
        self.aliased += weight
        if self.aliased > REPEATED:
            self._refuse(
                mark,
                "too-many-values",
                f"the aliases up to here repeat more than {REPEATED:,} values",
                "put long lists into list files and name them with 'file:'",
            )
        self._attach(node)

    def _attach(self, node: Node) -> None:
        if self.open:
            self.open[-1].children.append(node)
        else:
            self.root = node

    def _check_tag(self, event: Any) -> None:
        if event.tag != "!" and not event.tag.startswith(STANDARD_TAGS):
            self._refuse(
                event.start_mark,
                "yaml-syntax",
                f"the tag {quoted(event.tag)} means nothing here",
                "leave the tag out, or quote a value that begins with '!'",
            )

    def _refuse_more(self, mark: Any) -> NoReturn:
        self._refuse(
            mark,
            "too-many-values",
            f"the rules file has more than {VALUES:,} values up to here",
            "put its networks into list files and name them with 'file:'",
        )

    def _refuse_second(self, event: Any) -> NoReturn:
        self._refuse(
            event.start_mark,
            "several-documents",
            "a second YAML document begins here",
            "keep one document in a rules file: remove this line or split the file",
        )

    def _refuse(self, mark: Any, code: str, message: str, remedy: str) -> NoReturn:
        width = len(re.split(r"[\s,\]}]", self.text[mark.index : mark.index + 200], maxsplit=1)[0])
        place = Place(self.file, mark.line + 1, mark.column + 1, max(1, width))
        raise SyntaxProblemError(Problem(code, Severity.ERROR, place, message, remedy))

    def _rest_of_line(self, index: int) -> int:
        """How many characters stand from here to the end of the line, without trailing blanks."""
        end = self.text.find("\n", index)
        line = self.text[index:] if end < 0 else self.text[index:end]
        return max(1, len(line.rstrip()))


def _flow(node: Node, depth: int) -> str:
    """A value in flow style. Deeper than `depth` (aliases can nest far) it is only hinted at."""
    if isinstance(node, Scalar):
        return harmless(node.text) if node.plain else '"' + harmless(node.text) + '"'
    if depth == 0 or not isinstance(node, Collection):
        return "…"
    parts = [_flow(child, depth - 1) for child in node.children[:20]]
    if len(node.children) > len(parts):
        parts.append("…")
    if isinstance(node, Sequence):
        return "[" + ", ".join(parts) + "]"
    pairs = zip(parts[::2], parts[1::2], strict=False)
    return "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"
