"""Lines that may be part of a password: no excerpt shows them, whatever form YAML gives the value
and wherever a mistake stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.config.loader import load
from router.config.model import Place
from router.config.problems import Problem, Severity
from router.config.sources import Sources

FORMS = {
    "on the next line": "    password:\n      hidden",
    "behind a comment": "    password:\n\n      # of the proxy\n      hidden",
    "list": "    password:\n    - hidden\n    -\n      hidden",
    "list in flow style": "    password: [a,\n  hidden\n    ]",
    "mapping": "    password:\n      is:\n        hidden",
    "mapping in flow style": "    password: {is:\n  hidden}",
    "literal": "    password: |\n      a\n\n      hidden",
    "folded": "    password: >2-\n       a\n      hidden",
    "plain": "    password: a\n      hidden",
    "single quotes": "    password: 'a\n\n      hidden'",
    "double quotes": '    password: "a\\\n      hidden"',
    "closed too early": '    password:\n      "a"\n      hidden"',
    "tag": "    password: !!str\n      hidden",
    "anchor": "    password: &a\n      hidden",
    "alias before it": "    on_down: &a\n      hidden\n    password: *a",
    "alias of a list": "    on_down: &a [b,\n      hidden]\n    password: *a",
    "explicit key": "    ? password\n    : hidden",
    "explicit key, spread": "    ? password\n    # of the proxy\n    :\n      hidden",
    "explicit key of several lines": "    ? >-\n      password\n    : hidden",
    "alias as the key": "    ? &k password\n    : a\n    ? *k\n    :\n      hidden",
    "quoted key": "    'password':\n      hidden",
    "escape in the key": '    "pass\\x77ord":\n      hidden',
    "capitals": "    Password:\n      hidden",
    "longer key": "    proxy_password:\n      hidden",
    "flow mapping": "    via: {type: socks5, password:\nhidden, udp: auto}",
    "flow mapping, quotes": '    via: {password: "a\nb: hidden", udp: auto}',
    "flow mapping, explicit": "    via: {? password\n   :\n  hidden}",
    "without a colon": "    password\n      hidden",
}
BEFORE = (
    "version: 1\npolicies:\n  home: {type: direct, interface: default}\n  p:\n    type: socks5\n"
)
AFTER = "    password_file: of-the-proxy\n    udp: auto\ndefault: home\n"
MISTAKES = ["x: y: z", "{", "'", '"', "*b", "\t", "\x01", "- x", "? x", "--- x"]
FILE = "rules.yaml"


def shown(text: str) -> list[str]:
    """Every line that an excerpt shows, wherever the problem stands."""
    sources = Sources()
    sources.add_text(FILE, text)
    places = [Place(FILE, number, 1) for number in range(1, text.count("\n") + 1)]
    problems = [Problem("any", Severity.ERROR, place, "", "") for place in places]
    return [line for problem in problems for line in problem.excerpt(sources)[:1]]


def printed(directory: Path, text: str) -> str:
    """All that `check` prints."""
    file = directory / FILE
    file.write_text(text, encoding="utf-8")
    found = load(file)
    assert found.problems
    return "\n".join(each.as_text(found.sources) for each in found.problems)


@pytest.mark.parametrize("form", FORMS)
def test_what_stands_above_is_shown(tmp_path: Path, form: str) -> None:
    text = f"{BEFORE}{FORMS[form]}\n{AFTER}"
    assert "hidden" not in "".join(shown(text))
    assert "hidden" not in printed(tmp_path, text)
    if "&" not in text:
        assert shown(text) == BEFORE.splitlines()


@pytest.mark.parametrize("form", FORMS)
def test_whatever_else_is_wrong(tmp_path: Path, form: str) -> None:
    lines = f"{BEFORE}{FORMS[form]}\n{AFTER}".splitlines()
    for at in range(4, len(lines)):
        for mistake in MISTAKES:
            for broken in (
                [mistake, lines[at]],
                [f"    {mistake}", lines[at]],
                [lines[at] + mistake],
            ):
                text = "\n".join([*lines[:at], *broken, *lines[at + 1 :], ""])
            assert "hidden" not in "".join(shown(text)), text
        text = "\n".join([*lines[:at], "    ? x", *lines[at:], ""])
        assert "hidden" not in printed(tmp_path, text)


@pytest.mark.parametrize("mistake", ["udp: never", "]"])
@pytest.mark.parametrize("comment", ["", "# the password is in a file", "udp: auto  # no password"])
def test_a_file_without_a_password_is_shown_as_it_is(comment: str, mistake: str) -> None:
    text = f"{BEFORE}    {comment}\n{AFTER}{mistake}\n"
    assert shown(text) == [line for line in text.splitlines() if line.strip()]
