"""Rendering of a problem: text, JSON, GitHub annotations."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.config.model import Place
from router.config.problems import WINDOW, Problem, Severity, has_errors, point_at, quoted
from router.config.sources import Sources

PROBLEM = Problem(
    "unknown-policy",
    Severity.ERROR,
    Place("rules.yaml", 2, 12, 5),
    "no policy is called 'ofice'",
    "did you mean 'office'?",
)


def sources() -> Sources:
    found = Sources()
    found.add_text("rules.yaml", "rules:\n- {policy: ofice}\n")
    return found


def test_text_shows_the_line_and_carets_under_the_value() -> None:
    assert PROBLEM.as_text(sources()) == (
        "rules.yaml:2:12: error[unknown-policy]: no policy is called 'ofice'\n"
        "- {policy: ofice}\n"
        "           ^^^^^\n"
        "help: did you mean 'office'?"
    )


def test_text_without_a_place_or_a_source_line_is_the_message_and_the_help() -> None:
    system = Problem("no-interface", Severity.WARNING, None, "wg0 is missing", "start the VPN")
    assert system.as_text(sources()) == (
        "warning[no-interface]: wg0 is missing\nhelp: start the VPN"
    )
    beyond = Problem("x", Severity.ERROR, Place("rules.yaml", 99, 1), "m", "")
    assert beyond.as_text(sources()) == "rules.yaml:99:1: error[x]: m"


def test_json_has_the_members_of_the_contract() -> None:
    assert PROBLEM.as_json() == {
        "code": "unknown-policy",
        "severity": "error",
        "file": "rules.yaml",
        "line": 2,
        "column": 12,
        "message": "no policy is called 'ofice'",
        "help": "did you mean 'office'?",
    }
    assert Problem("x", Severity.WARNING, None, "m", "h").as_json()["line"] is None


def test_github_annotations_escape_what_would_end_them() -> None:
    problem = Problem(
        "x", Severity.WARNING, Place("a,b:c%.yaml", 3, 4), "100% of\nlines: bad, all", "stop"
    )
    assert problem.as_github() == (
        "::warning file=a%2Cb%3Ac%25.yaml,line=3,col=4,title=x"
        "::100%25 of%0Alines: bad, all%0Ahelp: stop"
    )


def test_has_errors_distinguishes_errors_from_warnings() -> None:
    warning = Problem("x", Severity.WARNING, None, "m", "h")
    assert not has_errors([warning])
    assert has_errors([warning, PROBLEM])


@pytest.mark.parametrize(
    ("source", "column", "width", "carets"),
    [
        ("a: bcd", 4, 3, "   ^^^"),
        ("\ta: bcd", 5, 3, "\t   ^^^"),
        ("東京: bcd", 5, 3, "      ^^^"),
        ("a: 東京", 4, 2, "   ^^^^"),
        ("e\N{COMBINING ACUTE ACCENT}: bcd", 5, 3, "   ^^^"),
        ("a: bcd", 4, 30, "   ^^^"),
        ("a:", 3, 1, "  ^"),
        ("a:", 40, 5, "  ^"),
    ],
)
def test_carets_stand_under_the_value(source: str, column: int, width: int, carets: str) -> None:
    assert point_at(source, column, width) == [source, carets]


@given(
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=1000),
    st.integers(1, 1000),
    st.integers(1, 1000),
)
def test_long_lines_are_cut_around_the_value(source: str, column: int, width: int) -> None:
    column = min(column, len(source))
    width = min(width, len(source) - column + 1)
    shown, carets = point_at(source, column, width)
    assert len(shown) <= WINDOW + 2
    marked = shown[len(carets) - carets.count("^") : len(carets)]
    assert marked and source[column - 1 :].startswith(marked)
    assert marked == source[column - 1 : column - 1 + width] or width > WINDOW // 2


def test_values_are_escaped_and_shortened() -> None:
    assert quoted("\x1b[31mred\x07") == "'\ufffd[31mred\ufffd'"
    assert len(quoted("x" * 1000)) < 70
    shown, _ = point_at("\x1b]0;title\x07", 1, 1)
    assert shown.isprintable()
