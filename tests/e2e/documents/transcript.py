"""What a page of the documentation has people write and type.

A fenced block with a title is a file. In a block of `console`, a line that begins with a prompt is
a command, and the lines up to the next prompt are what it prints:

    $ ping -c1 198.51.100.1            by the machine that runs the router
    lan$ ping -c1 198.51.100.1         by a host of its LAN
    far$ ping -c1 192.0.2.2            by a host of the network that both of its outbounds lead to
    $ tunrouter trace icmp &           goes on: its lines come while the following commands run

Always true: the order of the page is kept. Numbers of a measurement (`0.471 ms`) and times of day
stand for any others, … for any text, and a command may print more lines than the page shows.

Must not know: where and how the commands are run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

FENCE: Final = re.compile(r"^```(?P<language>\w*)(?: title=\"(?P<title>[^\"]+)\")?\s*$")
PROMPT: Final = re.compile(r"^(?P<host>lan|far)?\$ (?P<line>.*)$")
GOES_ON: Final = " &"
MEASURED: Final = re.compile(r"\d\d:\d\d:\d\d\.\d+|\d+(?:\.\d+)?(?= ?m?s\b)")
NUMBER: Final = r"[\d.:]+"
ANY_TEXT: Final = "…"
ROUTER: Final = "router"


@dataclass(frozen=True)
class File:
    """A file that the reader writes: its name and its text."""

    name: str
    text: str


@dataclass(frozen=True)
class Command:
    """What the reader types, where, and the lines that are shown below it."""

    line: str
    host: str = ROUTER
    goes_on: bool = False
    printed: list[str] = field(default_factory=list)


def steps(page: Path) -> Iterator[File | Command]:
    """What a page has, in its order."""
    for language, title, lines in _blocks(page.read_text(encoding="utf-8").splitlines()):
        if title is not None:
            yield File(title, "\n".join([*lines, ""]))
        elif language == "console":
            yield from _commands(lines)


def is_shown(printed: list[str], output: str) -> str | None:
    """The first line of `printed` that the output does not have behind those before it; None if
    there is none."""
    rest = iter(output.splitlines())
    for line in printed:
        wanted = _pattern(line)
        if not any(wanted.fullmatch(each.rstrip()) for each in rest):
            return line
    return None


def _blocks(lines: list[str]) -> Iterator[tuple[str, str | None, list[str]]]:
    """Language, title and lines of each fenced block."""
    inside: list[str] | None = None
    opened: re.Match[str] | None = None
    for line in lines:
        if inside is None:
            opened = FENCE.match(line)
            inside = [] if opened else None
        elif line.startswith("```"):
            assert opened is not None
            yield opened["language"], opened["title"], inside
            inside = None
        else:
            inside.append(line)


def _commands(lines: list[str]) -> Iterator[Command]:
    found: Command | None = None
    for line in lines:
        prompt = PROMPT.match(line)
        if prompt is None:
            if found is not None and line.strip():
                found.printed.append(line.rstrip())
            continue
        if found is not None:
            yield found
        typed = prompt["line"].partition("   #")[0].rstrip()
        goes_on = typed.endswith(GOES_ON)
        found = Command(typed.removesuffix(GOES_ON), prompt["host"] or ROUTER, goes_on)
    if found is not None:
        yield found


def _pattern(line: str) -> re.Pattern[str]:
    parts = []
    for part in line.split(ANY_TEXT):
        at = 0
        for number in MEASURED.finditer(part):
            parts += [re.escape(part[at : number.start()]), NUMBER]
            at = number.end()
        parts += [re.escape(part[at:]), ".*"]
    return re.compile("".join(parts[:-1]))
