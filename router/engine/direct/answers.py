"""Counts the answers to packets that leave directly, which never pass the router.

The system counts what arrives by the interface of a policy, for one of its addresses, from where
the rules lead to this policy. That contains the answers of relayed flows to the same destinations:
flows there belong to a tally that `is_counted_outside`, of which `in` is not added.

Always true: a policy is counted for a destination only where nothing else that rules name for that
destination leaves from one of its addresses; its counts are kept across changes of rules and
interfaces.

Must not know: how packets are counted.
"""

from __future__ import annotations

import logging
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Final

from router.config.model import Config, Path
from router.outbound.all import Outbounds
from router.platform.base.answers import AnswerCounters, NumberedPrefix, Place
from router.platform.base.errors import PlatformError
from router.platform.reason import reason
from router.policy.network import Interface
from router.policy.prefixes import FAMILIES, WIDTHS, format_address
from router.policy.resolve import effective
from router.policy.routes.answered import AnsweredPrefix

log = logging.getLogger(__name__)

NOTHING: Final = (0, 0)
REFUSALS: Final = (OSError, PlatformError)
NO_NUMBER: Final = 0
SIZES: Final = {4: 4, 6: 16}
"""Bytes of an address, by IP version."""


class Answers:
    """open_counters: of the system. owners: the interfaces by local address, as they are at
    present, 4 or 16 bytes."""

    def __init__(
        self,
        open_counters: Callable[[], AnswerCounters],
        outbounds: Outbounds,
        owners: Callable[[], Mapping[bytes, Interface]],
    ) -> None:
        self._outbounds = outbounds
        self._owners = owners
        self._config: Config | None = None
        self._prefixes: Sequence[NumberedPrefix] = ()
        self._starts: dict[int, list[int]] = {}
        self._of_family: dict[int, list[NumberedPrefix]] = {}
        self._numbers: dict[tuple[str, ...], int] = {}
        self._counted_by: dict[str, int] = {}
        self._places: frozenset[Place] = frozenset()
        self._covered: set[tuple[int, int, str]] = set()
        self._counters: AnswerCounters | None = None
        self._counts = False
        try:
            self._counters = open_counters()
            self._counts = True
        except REFUSALS as error:
            log.warning(
                "the system refuses to count answers (%s): `status` shows none where packets "
                "leave directly",
                reason(error),
            )

    def of(self, policy: str) -> tuple[int, int]:
        """Packets and bytes that the system has counted for a policy."""
        counter = self._counted_by.get(policy)
        if counter is None or self._counters is None:
            return NOTHING
        return self._counters.read(counter)

    def packets(self) -> int:
        """That the system has counted for all policies."""
        return sum(self.of(policy)[0] for policy in self._counted_by)

    def covers(self, policy: str, version: int, address: int) -> bool:
        """Whether the system counts what comes from an address for a policy."""
        number = self._number_at(version, address)
        return (number, version, policy) in self._covered

    def follow(self, config: Config, prefixes: Sequence[AnsweredPrefix]) -> None:
        """Count for these rules; `prefixes` are those of `config`."""
        self._config = config
        self._prefixes = [] if self._counters is None else list(self._numbered(prefixes))
        for version in FAMILIES:
            own = [each for each in self._prefixes if each.version == version]
            self._of_family[version] = own
            self._starts[version] = [each.first for each in own]
        self._count(frozenset(self._find_places(config)))

    def refresh(self) -> bool:
        """Outbounds or addresses may have changed; whether `covers` says something else now."""
        if self._config is None:
            return False
        places = frozenset(self._find_places(self._config))
        if places == self._places:
            return False
        before = self._covered
        self._count(places)
        return self._covered != before

    def close(self) -> None:
        if self._counters is not None:
            self._counters.close()

    def _count(self, places: frozenset[Place]) -> None:
        if self._counters is None or not self._counts:
            return
        try:
            self._counters.count(self._prefixes, places)
        except REFUSALS as error:
            self._counts = False
            self._covered = set()
            log.warning("answers are not counted any more: %s", reason(error))
            return
        self._places = places
        names = {counter: policy for policy, counter in self._counted_by.items()}
        self._covered = {
            (place.number, 6 if ":" in place.address else 4, names[place.counter])
            for place in places
        }

    def _numbered(self, prefixes: Sequence[AnsweredPrefix]) -> Iterator[NumberedPrefix]:
        """Without those for which there is no number."""
        for version, first, length, policies in prefixes:
            number = self._numbers.get(policies)
            if number is None:
                number = self._free(len(self._numbers))
                if number == NO_NUMBER:
                    continue
                self._numbers[policies] = number
            yield NumberedPrefix(version, first, length, number)

    def _free(self, used: int) -> int:
        """A number or counter besides those that are used; NO_NUMBER where none is left."""
        assert self._counters is not None
        return used + 1 if used + 1 < self._counters.most else NO_NUMBER

    def _find_places(self, config: Config) -> Iterator[Place]:
        """Where each policy that applies at present gets its answers."""
        addresses = self._addresses(config)
        for named, number in self._numbers.items():
            if not all(name in config.policies for name in named):
                continue  # of former rules
            applying = {effective(config, name, self._outbounds.is_up) for name in named}
            for policy in applying & addresses.keys():
                others = applying - {policy}
                taken = {each for other in others for each in addresses.get(other, ())}
                own = addresses[policy] if config.policies[policy].path is Path.AUTO else ()
                for version in FAMILIES:
                    of_family = [each for each in own if len(each) == SIZES[version]]
                    sends_from = self._outbounds.by_policy[policy].sends_from
                    if all(each not in taken and sends_from(each) for each in of_family):
                        for address in of_family:
                            yield from self._place(number, policy, address)

    def _addresses(self, config: Config) -> Mapping[str, Collection[bytes]]:
        """Those that packets of a policy can come from, of policies with an interface."""
        owners = self._owners()
        return {
            name: [address for address in owners if outbound.owns(address)]
            for name, outbound in self._outbounds.by_policy.items()
            if name in config.policies
        }

    def _place(self, number: int, policy: str, address: bytes) -> Iterator[Place]:
        counter = self._counted_by.get(policy)
        if counter is None:
            counter = self._free(len(self._counted_by))
            if counter == NO_NUMBER:
                return
            self._counted_by[policy] = counter
        interface = self._owners()[address]
        version = 4 if len(address) == 4 else 6
        text = format_address(version, int.from_bytes(address, "big"))
        yield Place(number, interface.name, interface.index, text, counter)

    def _number_at(self, version: int, address: int) -> int:
        starts = self._starts.get(version, [])
        position = bisect_right(starts, address) - 1
        if position < 0:
            return NO_NUMBER
        _, first, length, number = self._of_family[version][position]
        return number if address - first < 1 << (WIDTHS[version] - length) else NO_NUMBER
