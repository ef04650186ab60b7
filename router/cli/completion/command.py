"""Prints a script, or what the running router has."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Final

from router.cli import exits
from router.cli.completion import bash, fish, zsh
from router.cli.completion.tree import ASKED, Command, read
from router.cli.completion.values import values
from router.control.client import NoAnswerError
from router.platform.base.errors import PlatformError

SCRIPTS: Final[Mapping[str, Callable[[Command], str]]] = {
    "bash": bash.script,
    "zsh": zsh.script,
    "fish": fish.script,
}


def completion(what: str, parser: argparse.ArgumentParser) -> int:
    """what: a shell, or one of tree.ASKED. The exit status, which is 0 where no router answers too:
    then there is nothing to complete."""
    if what not in ASKED:
        print(SCRIPTS[what](read(parser)), end="")
        return exits.OK
    try:
        for line in values(what):
            print(line)
    except (NoAnswerError, PlatformError):
        pass
    return exits.OK
