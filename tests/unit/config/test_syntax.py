"""The messages about invalid YAML depend on the text alone: the parsers' wording differs between
PyYAML and libyaml, and from one version to the next."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from router.config.document import (
    PythonParser,
    SyntaxProblemError,
    fastest_parser,
    parse_document,
)
from router.config.syntax import explain_syntax
from tests.unit.config.test_fuzz import PUNCTUATION, WORDS
from tests.unit.examples import examples

FAULTS = [
    ("a: b: c", "1:5", "this ':' makes a key where none can stand"),
    ("a\nb: 1", "1:1", "a ':' is missing after this key"),
    ("- a\nb", "2:1", "a ':' is missing after this key"),
    ('- a\n"b"\n- c', "2:1", "a ':' is missing after this key"),
    ("- a\n'it''s'\n- c", "2:1", "a ':' is missing after this key"),
    ("- a\n&x b\n- c", "2:1", "a ':' is missing after this key"),
    ('a: "b', "1:4", "this quoted value is never closed"),
    ("a: 'b\n", "1:4", "this quoted value is never closed"),
    ('a: "x\n---\n"', "1:4", "this quoted value is never closed"),
    ('a: "b\\\n', "1:4", "this quoted value is never closed"),
    ('a: "\\q"', "1:4", "a backslash in double quotes begins no escape"),
    ('a: "\\xZZ"', "1:4", "a backslash in double quotes begins no escape"),
    ('a: "b" "\\u12"', "1:8", "a backslash in double quotes begins no escape"),
    ("a: {b: 1", "1:4", "this '{' is never closed"),
    ("a: [1, 2}", "1:9", "a ',' or ']' is missing before this"),
    ("a: [::/0]", "1:5", "a value is expected before ':'"),
    ("key: [a\nb: c", "2:2", "a ':' ends a value inside brackets"),
    ("a: }", "1:4", "a value is expected before '}'"),
    ("a: @x", "1:4", "a value can't begin with '@'"),
    ("a: %x", "1:4", "a value can't begin with '%'"),
    ("a: - b", "1:4", "this '-' begins a list where none can stand"),
    ("a: ? b", "1:4", "this '?' begins a key where none can stand"),
    ("a: *", "1:4", "no name can be read behind this '*'"),
    ("a: *.example", "1:4", "no name can be read behind this '*'"),
    ("a: &", "1:4", "no name can be read behind this '&'"),
    ("a: !<x", "1:4", "no tag can be read behind this '!'"),
    ("a: !x!y z", "1:4", "the tag that begins here means nothing"),
    ("a: &b !x!y z", "1:7", "the tag that begins here means nothing"),
    ("a: |0\n b", "1:4", "nothing can follow this '|' on its line"),
    ("a: > x\n b", "1:4", "nothing can follow this '>' on its line"),
    ("%YAML 2.0\n---\na", "1:1", "this directive can't be read"),
    ("%YAML x\n---\na", "1:1", "this directive can't be read"),
    ("%TAG ! x\n%TAG ! y\n---\na", "2:1", "this directive can't be read"),
    ("a\n...\nb", "3:1", "text follows the end of the document"),
    ("a:\n  - b\n c: d", "3:2", "this line fits nothing above it"),
    ("- a\n? b", "2:1", "this line fits nothing above it"),
    ("a: [@x]", "1:5", "a value can't begin with '@'"),
    ("a: [|x]", "1:5", "a value can't begin with '|'"),
    ("a:\n\tb: 1", "2:1", "a tab is used to indent"),
]


def parsing_error(parser: Any) -> yaml.MarkedYAMLError | None:
    try:
        while type(parser.get_event()) is not yaml.StreamEndEvent:
            pass
    except yaml.MarkedYAMLError as error:
        return error
    except (ValueError, OverflowError):
        pass
    return None


def worded_otherwise(error: yaml.MarkedYAMLError) -> yaml.MarkedYAMLError:
    return type(error)("a context", error.context_mark, "a problem", error.problem_mark, "a note")


@pytest.mark.parametrize("pure_python", [False, True], ids=["libyaml", "pure-python"])
@pytest.mark.parametrize(("text", "place", "message"), FAULTS)
def test_faults(text: str, place: str, message: str, pure_python: bool) -> None:
    with pytest.raises(SyntaxProblemError) as caught:
        parse_document("rules.yaml", text, pure_python)
    problem = caught.value.problem
    assert problem.place is not None
    assert f"{problem.place.line}:{problem.place.column}" == place
    assert problem.message == message
    assert problem.help


@pytest.mark.parametrize("pure_python", [False, True], ids=["libyaml", "pure-python"])
@pytest.mark.parametrize("opening", ["[", "{", "a: {", "- ", "? "])
def test_unbounded_nesting(opening: str, pure_python: bool) -> None:
    with pytest.raises(SyntaxProblemError, match="nested more than 32 deep"):
        parse_document("rules.yaml", opening * 2000, pure_python)


def test_unbounded_nesting_of_keys() -> None:
    text = "".join(" " * depth + "a:\n" for depth in range(2000))
    with pytest.raises(SyntaxProblemError, match="nested more than 32 deep"):
        parse_document("rules.yaml", text)


@settings(max_examples=examples(500))
@given(
    st.sampled_from([text for text, _, _ in FAULTS])
    | st.lists(st.sampled_from(WORDS + PUNCTUATION), max_size=12).map("".join)
)
def test_the_wording_of_the_parser_changes_nothing(text: str) -> None:
    text = text.replace("\r\n", "\n").replace("\0", "")
    for parser in (PythonParser, fastest_parser):
        error = parsing_error(parser(text))
        if error is not None:
            assert explain_syntax("rules.yaml", text, worded_otherwise(error)) == explain_syntax(
                "rules.yaml", text, error
            )


@pytest.mark.parametrize("pure_python", [False, True], ids=["libyaml", "pure-python"])
@pytest.mark.parametrize(
    ("text", "line"),
    [(b"%YAML 9" + b"9" * 5000 + b".1\n---\na", 1), (b'version: 1\ndefault: "\\UFFFFFFFF"', 2)],
)
def test_numbers_out_of_bounds_are_shown_where_they_stand(
    text: bytes, line: int, pure_python: bool
) -> None:
    with pytest.raises(SyntaxProblemError) as caught:
        parse_document("rules.yaml", text.decode(), pure_python)
    problem = caught.value.problem
    assert problem.place is not None
    assert problem.place.line == line
    assert "digits" not in problem.message
    assert "int" not in problem.message.split()
