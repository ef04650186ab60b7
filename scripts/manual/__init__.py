"""The manual pages tunrouter(1) and rules.yaml(5), from what the program itself reads.

commands   tunrouter(1), from the parser of the command line
roff       the macros of man(7)
"""

from __future__ import annotations

from router import __version__
from router.cli.parser import parser
from scripts.manual import commands, rules
from scripts.rules.keys import read


def pages(date: str) -> dict[str, str]:
    """Their text, by file name. date: ISO 8601."""
    return {
        "tunrouter.1": commands.page(parser(), __version__, date),
        "rules.yaml.5": rules.page(read(), __version__, date),
    }
