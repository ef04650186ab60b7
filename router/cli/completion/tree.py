"""The command line as completion needs it, read from the parser.

Must not know: shells.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from router.flows.trace.words import WORDS

FILES: Final = "files"
POLICIES, RULES, TUNS = "policies", "rules", "tuns"
ASKED: Final = (POLICIES, RULES, TUNS)
"""What the running router is asked for; see values."""
OF_OPTION: Final[Mapping[str, str]] = {
    "--policy": POLICIES,
    "--require": POLICIES,
    "--rule": RULES,
    "--tun": TUNS,
}
OF_FILTER: Final[Mapping[str, str]] = {"policy": POLICIES, "rule": RULES}
"""What follows a word of a filter."""
FILE_NAMES: Final = ("FILE", "OLD", "NEW", "PATH")
"""Metavars."""


class Values(NamedTuple):
    """What can stand there: some words, or a kind of ASKED, or FILES; nothing that is known, if
    both are empty. name: as the help has it. after: the kinds that stand behind some of the words,
    instead of these."""

    name: str
    words: Sequence[str] = ()
    kind: str = ""
    after: Mapping[str, str] = MappingProxyType({})


class Option(NamedTuple):
    """values: None where it takes none."""

    names: Sequence[str]
    help: str
    values: Values | None


class Command(NamedTuple):
    """positionals: in their order. commands: below it."""

    name: str
    help: str
    options: Sequence[Option]
    positionals: Sequence[Values]
    commands: Sequence[Command]

    @property
    def values(self) -> list[Values]:
        """What can stand where no option's value does."""
        names = tuple(command.name for command in self.commands)
        return [*self.positionals, *([Values("COMMAND", names)] if names else [])]


def read(parser: argparse.ArgumentParser, name: str = "tunrouter", about: str = "") -> Command:
    """The tree of a parser."""
    formatter = argparse.HelpFormatter(parser.prog)
    options, positionals, commands = [], [], []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {each.dest: _help(each, formatter) for each in action._choices_actions}
            commands = [
                read(below, command, helps.get(command, ""))
                for command, below in action.choices.items()
            ]
        elif action.option_strings:
            values = None if action.nargs == 0 else _values(action)
            options.append(Option(action.option_strings, _help(action, formatter), values))
        else:
            positionals.append(_values(action))
    return Command(name, about, options, positionals, commands)


def walk(command: Command, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Command]]:
    """All commands with the words that lead to them, the first with none."""
    found = [(path, command)]
    for below in command.commands:
        found += walk(below, (*path, below.name))
    return found


def _help(action: argparse.Action, formatter: argparse.HelpFormatter) -> str:
    return formatter._expand_help(action) if action.help else ""


def _values(action: argparse.Action) -> Values:
    name = str(action.metavar or action.dest)
    if action.choices is not None:
        return Values(name, tuple(map(str, action.choices)))
    if name == "FILTER":
        return Values(name, WORDS, after=OF_FILTER)
    kinds = [OF_OPTION[each] for each in action.option_strings if each in OF_OPTION]
    kind = kinds[0] if kinds else FILES if name in FILE_NAMES else ""
    return Values(name, (), kind)
