"""Counting packets that arrive by interfaces and never pass the router."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple, Protocol


class NumberedPrefix(NamedTuple):
    """Source addresses, given as an int and a length, and their number."""

    version: int
    first: int
    length: int
    number: int


class Place(NamedTuple):
    """Where packets from addresses of a number are counted, and under which counter: those that
    arrive by the interface, given by name and index, for the address, which is this machine's."""

    number: int
    interface_name: str
    interface_index: int
    address: str
    counter: int


class AnswerCounters(Protocol):
    """Counts packets that arrive at a place from its prefixes. ICMP errors are not counted, nor
    what a link needs for itself.

    most: numbers and counters are below it.
    """

    most: int

    def count(self, prefixes: Collection[NumberedPrefix], places: Collection[Place]) -> None:
        """Count these from now on, in place of those of the call before; what has been counted is
        kept. `prefixes` overlap nowhere.

        Raises PlatformError, OSError; then nothing is counted any more.
        """
        ...

    def read(self, counter: int) -> tuple[int, int]:
        """Packets, and bytes with IP headers, as of the network: what the system has put together
        counts as what it was."""
        ...

    def close(self) -> None: ...
