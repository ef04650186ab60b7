"""Lists of networks as other programs have them: lines, sequences of YAML or JSON, rules without a
policy.

    10.0.0.0/8      10.0.0.1 - 10.0.0.9     10.0.0.0 255.0.0.0     IP-CIDR,10.0.0.0/8,no-resolve

`#`, `;` and `//` begin comments. Text files that a configuration names are looked for below its own
directory only.

Must not know: what the lists are for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from router.config.bounds import NETWORKS
from router.config.cidr import Cidr
from router.config.foreign.conditions import UntranslatableError, written_networks
from router.config.foreign.model import Imported
from router.config.opening import Opener
from router.config.problems import Problem, Severity
from router.config.reading import RulesFileUnreadable, decode, read_bytes

MOST_NETWORKS: Final = 500_000
"""Of one configuration, with its lists; a rules file of them has about 12 MB."""
COMMENT: Final = re.compile(r"(?:(?:^|(?<=\s))//|[#;]).*")
PREFIXES: Final = ("IP-CIDR,", "IP-CIDR6,")

ReadFile = Callable[[str], tuple[str, str]]
"""From the name of a file in a configuration: its path, for notes, and its text. Raises
UntranslatableError."""


class Beside:
    """Files below the directory of a configuration."""

    def __init__(self, configuration: Path, opener: Opener, *, by_user: bool) -> None:
        self._directory = configuration.parent
        self._opener = opener
        self._by_user = by_user

    def read(self, name: str) -> tuple[str, str]:
        """See ReadFile."""
        path = self._below(name)
        try:
            read = read_bytes(path, self._opener, "list", named_by_user=self._by_user)
        except RulesFileUnreadable as error:
            raise UntranslatableError(error.problems[0].message) from None
        text, faults = decode(str(path), read.data)
        if faults:
            place = faults[0].place
            line = f", line {place.line}" if place else ""
            raise UntranslatableError(f"the list {path}{line}: {faults[0].message}")
        return str(path), text

    def _below(self, name: str) -> Path:
        try:
            path = self._directory / name
            inside = path.resolve().is_relative_to(self._directory.resolve())
        except (OSError, RuntimeError, ValueError):
            raise UntranslatableError("its path is no path") from None
        if not inside:
            raise UntranslatableError(
                f"its list {name[:80]} is not below the directory of this configuration"
            )
        return path


def list_lines(text: str) -> Iterator[tuple[int, str]]:
    """Number and text of each line that has more than a comment."""
    for number, line in enumerate(text.split("\n"), 1):
        bare = COMMENT.sub("", line).strip()
        if bare:
            yield number, bare


def networks_of(entry: str) -> tuple[Cidr, ...]:
    """Of an entry of a list, a comma behind it and quotes around it left out.

    Raises UntranslatableError.
    """
    entry = entry.strip().removesuffix(",").strip().strip("'\"")
    if entry.upper().startswith(PREFIXES):
        parts = entry.split(",")
        entry = parts[1].strip() if "src" not in parts[2:] else entry
    return written_networks(entry)


def list_alone(imported: Imported, entries: Iterable[tuple[int, str]]) -> list[Cidr]:
    """The networks of a file that is nothing but a list; what is none is noted.

    Raises RulesFileUnreadable.
    """
    networks: list[Cidr] = []
    for network in all_networks(entries, imported.note):
        if len(networks) >= NETWORKS:
            why = f"the list {imported.file} has more than {NETWORKS:,} networks"
            remedy = "split it, and import each part by itself"
            raise RulesFileUnreadable(
                Problem("too-many-networks", Severity.ERROR, None, why, remedy)
            )
        networks.append(network)
    return networks


def all_networks(
    entries: Iterable[tuple[int, str]], refuse: Callable[[int, str, str], None]
) -> Iterator[Cidr]:
    """Of all entries, (line, text); `refuse` gets line, text and reason of those that are none."""
    for line, entry in entries:
        try:
            yield from networks_of(entry)
        except UntranslatableError as error:
            refuse(line, entry, str(error))
