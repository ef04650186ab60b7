"""Rule sets of Clash, mihomo and Surge: what each is, found once.

Must not know: where they are defined.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from router.config.cidr import Cidr
from router.config.foreign.conditions import UntranslatableError
from router.config.foreign.lists import MOST_NETWORKS, all_networks
from router.config.foreign.model import Imported, Match
from router.config.foreign.rule_words import Dialect, read_words

Entries = Iterable[tuple[int, str]]
"""(line, text) of each entry of a list."""
DEEPEST: Final = 8
"""Rule sets within each other."""


class RuleSets:
    """find: the traffic of the set of that name; raises UntranslatableError."""

    def __init__(self, imported: Imported, find: Callable[[str], Sequence[Match]]) -> None:
        self._imported = imported
        self._find = find
        self._found: dict[str, Sequence[Match] | UntranslatableError] = {}
        self._networks = 0
        self._depth = 0

    def __call__(self, name: str) -> Sequence[Match]:
        """Raises UntranslatableError."""
        if name not in self._found:
            self._found[name] = UntranslatableError("the rule set leads back to itself")
            try:
                self._found[name] = self._read(name)
            except UntranslatableError as error:
                self._found[name] = error
        known = self._found[name]
        if isinstance(known, UntranslatableError):
            raise UntranslatableError(str(known))
        return known

    def _read(self, name: str) -> Sequence[Match]:
        """Raises UntranslatableError."""
        if self._depth >= DEEPEST:
            raise UntranslatableError(f"rule sets are nested more than {DEEPEST} deep")
        self._depth += 1
        try:
            found = self._find(name)
        finally:
            self._depth -= 1
        self._count(found)
        return found

    def plain(self, entries: Entries, file: str = "") -> Sequence[Match]:
        """Of a list of networks."""
        networks: list[Cidr] = []
        for network in all_networks(entries, self._refusing(file)):
            networks.append(network)
            if len(networks) > MOST_NETWORKS:
                raise _too_many()
        return (Match(networks=tuple(networks)),) if networks else ()

    def classical(self, entries: Entries, dialect: Dialect, file: str = "") -> Sequence[Match]:
        """Of a list of rules without policies."""
        refuse = self._refusing(file)
        networks: list[Cidr] = []
        others: list[Match] = []
        for line, text in entries:
            try:
                for match in dialect.condition(read_words(text), 1):
                    if match.networks is not None and match == Match(match.networks):
                        networks += match.networks
                    else:
                        others.append(match)
            except UntranslatableError as error:
                refuse(line, text, str(error))
            if len(networks) + len(others) > MOST_NETWORKS:
                raise _too_many()
        return [*([Match(networks=tuple(networks))] if networks else []), *others]

    def _refusing(self, file: str) -> Callable[[int, str, str], None]:
        def refuse(line: int, text: str, why: str) -> None:
            self._imported.note(line, text, why, file=file)

        return refuse

    def _count(self, found: Sequence[Match]) -> None:
        self._networks += sum(len(match.networks or ()) for match in found)
        if self._networks > MOST_NETWORKS:
            raise _too_many()


def _too_many() -> UntranslatableError:
    return UntranslatableError(
        f"there are more than {MOST_NETWORKS:,} networks up to here: make a list file of it "
        "(tunrouter import with that file alone), and name it with 'file:'"
    )
