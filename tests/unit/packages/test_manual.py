"""The manual pages: they say what the program reads, in roff that man has nothing to say about."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from router.cli.completion.tree import read, walk
from router.cli.parser import parser
from router.config.loader import load
from scripts.manual import pages, roff
from scripts.manual.rules import EXAMPLE
from scripts.rules.keys import SECTIONS, keys
from scripts.rules.keys import read as read_schema

PAGES = pages("2026-11-30")
FONT = re.compile(r"\\f[BIR]|\\&")


def shown(text: str) -> str:
    return FONT.sub("", text).replace("\\-", "-")


@pytest.mark.parametrize("name", PAGES)
def test_man_warns_of_nothing(name: str, tmp_path: Path) -> None:
    man = shutil.which("man")
    file = tmp_path / name
    file.write_text(PAGES[name], encoding="utf-8")
    if man is None or not Path("/usr/bin/groff").exists():
        _is_plain_roff(PAGES[name])
        return
    done = subprocess.run(
        [man, "--warnings", "--local-file", "--troff-device=utf8", "--ditroff", file],
        check=True,
        capture_output=True,
        text=True,
        env={"LC_ALL": "C.UTF-8", "MANWIDTH": "80", "PATH": "/usr/bin:/bin"},
    )
    assert done.stderr == ""


@pytest.mark.parametrize("name", PAGES)
def test_lines_that_begin_with_a_dot_are_macros_of_man(name: str) -> None:
    _is_plain_roff(PAGES[name])


def test_every_command_and_option_is_on_the_page() -> None:
    page = shown(PAGES["tunrouter.1"])
    for path, command in walk(read(parser())):
        if command.commands:
            continue
        section = page.partition(f'.SS "{" ".join(path)}"\n')[2].partition("\n.S")[0]
        assert section, path
        for option in command.options:
            if "--help" not in option.names:
                assert all(re.search(rf"(?m){name}\b", section) for name in option.names), option
                assert option.help, f"{' '.join(path)} {option.names}: no help"


def test_every_key_is_on_the_page() -> None:
    """In its section, with its default."""
    page, schema = shown(PAGES["rules.yaml.5"]), read_schema()
    for title, path in SECTIONS:
        section = page.partition(f".SH {title.upper()}\n")[2].partition("\n.SH")[0]
        for key in keys(schema, path):
            about = section.partition(f".TP\n{key.name}\n")[2].partition("\n.TP")[0]
            assert about, (title, key.name)
            assert ("Required." in about) is key.required
            assert ("Default: " in about) is (key.default is not None)


def test_the_example_has_no_problem(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists/ads.txt").write_text("198.51.100.0/24\n", encoding="utf-8")
    file.write_text(EXAMPLE, encoding="utf-8")
    assert load(file).problems == []


def test_text_cannot_be_roff() -> None:
    assert roff.escaped(".SH a\n'b \\fB -x") == "\\&.SH a\n\\&'b \\efB \\-x"
    assert roff.inline("`.a` and *b*, [c](d.md)") == "\\fB\\&.a\\fR and \\fIb\\fR, c"
    made = roff.from_markdown("One\n\n```yaml\n.two: 2\n```\n\nthree\n")
    assert made == "One\n.PP\n.EX\n\\&.two: 2\n.EE\n.PP\nthree\n"


def _is_plain_roff(page: str) -> None:
    macros = {line.split()[0] for line in page.splitlines() if line.startswith((".", "'"))}
    assert macros <= {".TH", ".SH", ".SS", ".PP", ".TP", ".EX", ".EE", ".ad", ".br"}
