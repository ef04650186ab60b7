"""What the readers of other programs' configurations have in common.

Must not know: any of their formats.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from router.config.cidr import Cidr
from router.config.problems import quoted
from router.config.text import harmless

Ports = tuple[tuple[int, int], ...]
"""Ranges, both ends included."""


@dataclass(frozen=True, slots=True)
class Match:
    """Traffic: all of these hold. None: any."""

    networks: tuple[Cidr, ...] | None = None
    ports: Ports | None = None
    protocols: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class ForeignRule:
    """Traffic that any of the matches is about gets the policy of that name."""

    matches: tuple[Match, ...]
    policy: str
    line: int


class Fixed(Enum):
    """What a name can mean by itself, with the policy that it is here."""

    DIRECT = "bypass"
    REJECT = "reject"
    DROP = "drop"
    REPLY = "reply"


@dataclass(frozen=True, slots=True)
class InterfaceWay:
    """By an interface alone."""

    name: str
    interface: str
    line: int


@dataclass(frozen=True, slots=True)
class ProxyWay:
    """By a SOCKS5 proxy. via: the name of what leads to it; interface: by which it is reached where
    there is no via."""

    name: str
    host: str
    port: int
    line: int
    username: str | None = None
    udp: bool = True
    via: str | None = None
    interface: str | None = None


class Choice(Enum):
    """How a group chooses among its members."""

    FIRST = "the first"
    """The first one, unless another is selected or it fails."""
    MEASURED = "any"
    """By measurements, addresses or chance."""


@dataclass(frozen=True, slots=True)
class Group:
    """kind: as its program calls it. complete: whether all members are known."""

    name: str
    kind: str
    members: tuple[str, ...]
    choice: Choice
    line: int
    complete: bool = True


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A policy that nothing here corresponds to; `why` is a clause."""

    name: str
    why: str
    line: int


@dataclass(frozen=True, slots=True)
class Skipped:
    """A policy that decides nothing: the next rule does."""


Definition = Fixed | InterfaceWay | ProxyWay | Group | Unsupported | Skipped


@dataclass(frozen=True, slots=True, order=True)
class Note:
    """One line that was not taken over, or (`changed`) not exactly, and why."""

    file: str
    line: int
    what: str
    why: str
    changed: bool = False

    def __str__(self) -> str:
        verb = "changed" if self.changed else "not taken over"
        place = f"{self.file}:{self.line}" if self.line else self.file
        return harmless(f"{place}: {verb}: {self.what}: {self.why}")


@dataclass(slots=True)
class Imported:
    """A configuration as it was read. `final` decides what no rule matches.

    networks: where the file is a list of networks and no configuration, those; then nothing else
    counts.
    """

    file: str
    rules: list[ForeignRule] = field(default_factory=list)
    definitions: dict[str, Definition] = field(default_factory=dict)
    final: str = ""
    final_line: int = 0
    notes: list[Note] = field(default_factory=list)
    networks: list[Cidr] | None = None

    def note(self, line: int, what: str, why: str, *, file: str = "") -> None:
        self.notes.append(Note(file or self.file, line, shortened(what), why))

    def note_change(self, line: int, what: str, why: str) -> None:
        self.notes.append(Note(self.file, line, shortened(what), why, changed=True))

    def all_networks(self) -> Iterator[Cidr]:
        """With repetitions, of all rules."""
        for rule in self.rules:
            for match in rule.matches:
                yield from match.networks or ()


def shortened(text: str) -> str:
    """Text of the file, as a note has it: one line, not too long."""
    return quoted(" ".join(text.split()), 80)[1:-1]
