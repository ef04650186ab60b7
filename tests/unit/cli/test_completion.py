"""The scripts are made from the parser: what it has they have, whatever it has."""

from __future__ import annotations

import argparse

import pytest

from router.cli.completion import bash, fish, zsh
from router.cli.completion.command import SCRIPTS
from router.cli.completion.tree import FILES, POLICIES, RULES, TUNS, Values, read, walk
from router.cli.parser import COMPLETIONS
from router.cli.parser import parser as whole_parser
from router.flows.trace.words import WORDS


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="tunrouter")
    commands = made.add_subparsers()
    look = commands.add_parser("look", help="it's [odd]: 100%% so\\")
    look.add_argument("--policy", metavar="NAME", help="a policy, not 'two'")
    look.add_argument("--rule")
    look.add_argument("-t", "--tun")
    look.add_argument("--size", choices=("big", "small"), default="big", help="(%(default)s)")
    look.add_argument("--json", action="store_true")
    look.add_argument("files", metavar="FILE", nargs="*")
    look.add_argument("filter", metavar="FILTER", nargs="*")
    below = commands.add_parser("lists").add_subparsers()
    below.add_parser("merge", help="join")
    return made


def test_the_tree() -> None:
    tree = read(parser())
    look, lists = tree.commands
    assert (look.name, look.help) == ("look", "it's [odd]: 100% so\\")
    values = {option.names[-1]: option.values for option in look.options}
    assert values["--policy"] == Values("NAME", (), POLICIES)
    assert (values["--rule"], values["--tun"]) == (
        Values("rule", (), RULES),
        Values("tun", (), TUNS),
    )
    assert values["--size"] == Values("size", ("big", "small"))
    assert values["--json"] is None
    words = Values("FILTER", WORDS, after={"policy": POLICIES, "rule": RULES})
    assert look.positionals == [Values("FILE", (), FILES), words]
    assert [path for path, _ in walk(tree)] == [(), ("look",), ("lists",), ("lists", "merge")]
    assert lists.values == [Values("COMMAND", ("merge",))]


@pytest.mark.parametrize("shell", [bash, fish, zsh], ids=["bash", "fish", "zsh"])
def test_every_word_of_the_real_parser_is_there(shell: object) -> None:
    script = SCRIPTS[str(getattr(shell, "__name__", "")).rsplit(".", maxsplit=1)[-1]]
    tree = read(whole_parser())
    text = script(tree)
    for _, command in walk(tree):
        assert command.name in text
        for option in command.options:
            for name in option.names:
                assert name in text or f"-l {name[2:]}" in text or f"-s {name[1:]}" in text
    assert text.endswith("\n")


def test_quotes_and_brackets_of_a_help_text() -> None:
    tree = read(parser())
    assert "-d 'it\\'s [odd]: 100% so\\\\'" in fish.script(tree)
    assert "'look:it'\\''s [odd]: 100% so\\'" in zsh.script(tree)
    assert "[a policy, not '\\''two'\\'']:NAME: _tunrouter_values policies" in zsh.script(tree)


def test_every_shell_can_be_asked_for() -> None:
    assert set(SCRIPTS) | {POLICIES, RULES, TUNS} == set(COMPLETIONS)
