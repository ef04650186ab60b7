"""Which lines of a rules file may be part of a password: no excerpt shows those.

A password has no place in a rules file, which the problem about its key says. Until it is gone, the
lines from there on are withheld, and not only those of its value: a mistake may have moved its end.

Always true: more lines may be withheld than need be, never fewer. A file with `password_file` or
`password_env`, or with a comment about passwords, is shown as it is.

Must not know: which keys a rules file may have.
"""

from __future__ import annotations

import re
from typing import Final

import yaml

from router.config.document import fastest_parser

WORD: Final = re.compile(r"password(?!_(?:file|env)\b)|\\", re.IGNORECASE)
"""A backslash may begin an escape for a letter of it."""
KEY: Final = re.compile(r"password[\"']?\s*[:=]|\?\s[^:]{0,200}?password", re.IGNORECASE)
"""However wrong the rest is; one with escapes, or without its colon, is none of these."""
SCALAR: Final = re.compile(r"\S*password\W*", re.IGNORECASE)
BEGINS_ANCHOR: Final = "&"
HARMLESS: Final = re.compile(
    r"""(?:^|(?<=[ \t]))\#[^'"\n]*$           # a comment: a `#` in a quoted value begins none
    |\bpassword_(?:file|env):[ ]*[\w./-]+$  # the name of a file or variable
    |\bpassword_(?:file|env):[ ]*[\w./-]+(?=[ ]*[,}#])""",
    re.MULTILINE | re.VERBOSE,
)


def first_secret_line(text: str) -> int | None:
    """The number, from 1, of the line from which on none may be shown; None where all may."""
    written = HARMLESS.sub(lambda each: " " * len(each[0]), text)
    word = WORD.search(written)
    if word is None:
        return None
    found = [_line(written, key) for key in (KEY.search(written),) if key]
    try:
        found += _scalars(written)
    except (yaml.YAMLError, ValueError, OverflowError):
        found.append(_line(written, word))
    if not found:
        return None
    # The value of an alias stands above it.
    return 1 if BEGINS_ANCHOR in text else min(found)


def _line(text: str, match: re.Match[str]) -> int:
    return text.count("\n", 0, match.start()) + 1


def _scalars(text: str) -> list[int]:
    """The lines of keys and values that are the word, without their escapes. Raises what the parser
    does where the text is no YAML."""
    parser, found = fastest_parser(text), []
    for event in iter(parser.get_event, None):
        kind = type(event)
        if kind is yaml.ScalarEvent and SCALAR.fullmatch(event.value):
            found.append(event.start_mark.line + 1)
        elif kind is yaml.StreamEndEvent:
            break
    return found
