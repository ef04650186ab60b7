"""Counters of answers in memory: what is counted is looked at as a packet arrives."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address

from router.platform.base.answers import NumberedPrefix, Place
from router.platform.base.errors import PlatformError
from router.policy.prefixes import WIDTHS


class MemoryCounters:
    """See AnswerCounters. refuses: whether the next changes fail."""

    most = 8

    def __init__(self) -> None:
        self.prefixes: Collection[NumberedPrefix] = ()
        self.places: Collection[Place] = ()
        self.changes = 0
        self.refuses = False
        self._counts: dict[int, tuple[int, int]] = {}

    def count(self, prefixes: Collection[NumberedPrefix], places: Collection[Place]) -> None:
        if self.refuses:
            raise PlatformError("no room")
        self.prefixes, self.places = prefixes, places
        self.changes += 1

    def read(self, counter: int) -> tuple[int, int]:
        return self._counts.get(counter, (0, 0))

    def close(self) -> None:
        pass

    def arrive(self, interface: str, source: str, destination: str, size: int) -> None:
        """A packet that is for this machine."""
        address = ip_address(source)
        for version, first, length, number in self.prefixes:
            shift = WIDTHS[version] - length
            if version != address.version or int(address) >> shift != first >> shift:
                continue
            for place in self.places:
                if (place.number, place.interface_name) == (number, interface) and (
                    place.address == destination
                ):
                    packets, total = self.read(place.counter)
                    self._counts[place.counter] = packets + 1, total + size
