"""JSON text as the nodes of router.config.document, which know their lines.

Comments (`//`, `/* */`, `#`) and a comma behind the last value are allowed, as in sing-box.

Always true: nesting costs no recursion; its depth and the number of values are bounded.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from typing import Final, NoReturn

from router.config.bounds import VALUES
from router.config.document import Collection, Mapping, Node, Scalar, Sequence, SyntaxProblemError
from router.config.model import Place
from router.config.problems import Problem, Severity, quoted

DEEPEST: Final = 64
SPACE: Final = re.compile(r"(?:[ \t\r\n]++|//[^\n]*+|#[^\n]*+|/\*(?:[^*]|\*(?!/))*+\*/)*+")
STRING: Final = re.compile(r'"(?:[^"\\\n]|\\.)*+"')
WORD: Final = re.compile(r'[^\s{}\[\]:,"/#]++')
WORDS: Final = frozenset({"true", "false", "null"})
NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)


def parse_json(file: str, text: str) -> Node:
    """The one value of a text. Raises SyntaxProblemError."""
    return _Parser(file, text).parse()


class _Parser:
    """What is open stands on a stack, the innermost last."""

    def __init__(self, file: str, text: str) -> None:
        self._file = file
        self._text = text
        self._at = 0
        self._values = 0
        self._starts = [0, *(found.end() for found in re.finditer("\n", text))]
        self._open: list[Collection] = []
        self._root: Node | None = None

    def parse(self) -> Node:
        self._value()
        while self._open:
            self._next_in(self._open[-1])
        self._space()
        if self._at < len(self._text):
            self._refuse("text follows the end of the value", "remove it")
        assert self._root is not None
        return self._root

    def _next_in(self, collection: Collection) -> None:
        """What follows in a collection: its end, or a value with the comma before it."""
        closing = "}" if isinstance(collection, Mapping) else "]"
        if collection.children and self._peek() != closing:
            self._take(",", f"',' or '{closing}'")
        if self._peek() == closing:
            self._at += 1
            self._open.pop()
            return
        if isinstance(collection, Mapping):
            if self._peek() != '"':
                self._refuse("a key in double quotes is expected here", 'write {"key": value}')
            collection.children.append(self._string())
            self._take(":", "':'")
        self._value()

    def _value(self) -> None:
        char = self._peek()
        self._values += 1
        if self._values > VALUES:
            self._refuse(f"there are more than {VALUES:,} values up to here", "split the file")
        if char in ("{", "["):
            self._begin(Mapping if char == "{" else Sequence)
        elif char == '"':
            self._attach(self._string())
        else:
            self._attach(self._word())

    def _begin(self, kind: type[Collection]) -> None:
        if len(self._open) >= DEEPEST:
            self._refuse(
                f"the values are nested more than {DEEPEST} deep", "is this the right file?"
            )
        line, column = self._place()
        node = kind(line, column)
        self._at += 1
        self._attach(node)
        self._open.append(node)

    def _string(self) -> Scalar:
        line, column = self._place()
        found = STRING.match(self._text, self._at)
        if found is None:
            self._refuse("this text is never closed", "add the closing quote, on the same line")
        try:
            value = json.loads(found[0], strict=False)
        except ValueError:
            self._refuse("a backslash begins no escape here", "write it twice")
        self._at = found.end()
        return Scalar(value, False, line, column, len(found[0]))

    def _word(self) -> Scalar:
        line, column = self._place()
        found = WORD.match(self._text, self._at)
        word = found[0] if found else self._text[self._at : self._at + 1]
        if word not in WORDS and not NUMBER.fullmatch(word):
            self._refuse(
                f"{quoted(word)} is no value" if word else "the file ends too soon",
                "write a text in double quotes, a number, true, false or null",
            )
        self._at += len(word)
        return Scalar(word, True, line, column, len(word))

    def _attach(self, node: Node) -> None:
        if self._open:
            self._open[-1].children.append(node)
        else:
            self._root = node

    def _take(self, char: str, what: str) -> None:
        if self._peek() != char:
            self._refuse(f"{what} is missing before this", "add it")
        self._at += 1

    def _peek(self) -> str:
        self._space()
        return self._text[self._at : self._at + 1]

    def _space(self) -> None:
        found = SPACE.match(self._text, self._at)
        if found is not None:
            self._at = found.end()

    def _place(self) -> tuple[int, int]:
        line = bisect_right(self._starts, self._at)
        return line, self._at - self._starts[line - 1] + 1

    def _refuse(self, message: str, remedy: str) -> NoReturn:
        place = Place(self._file, *self._place())
        raise SyntaxProblemError(Problem("json-syntax", Severity.ERROR, place, message, remedy))
