"""Protocols and ports: the condition of a rule, and whether rules cover others.

Two views of the same thing. A Condition matches one flow. TrafficClasses divides all traffic into
the few classes that the rules of a configuration distinguish and makes each condition a bit mask
over them, so that "covered by the union of earlier rules" is `mask & ~earlier == 0`.

Always true: protocols that rules cannot name (GRE, ESP, ...) are a class of their own, so no
conditional rule ever covers everything. A rule with ports matches TCP and UDP alone.

Must not know: addresses, chains, policies.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from router.config.model import Rule

PROTOCOL_NUMBERS = {"icmp": (1, 58), "tcp": (6,), "udp": (17,)}
"""IANA protocol numbers of the names in rules; icmp covers ICMPv6."""

WITH_PORTS = ("tcp", "udp")
LAST_PORT = 65535

PortRanges = tuple[tuple[int, int], ...]

ANYTHING: tuple[frozenset[str], PortRanges] = (frozenset(), ())
"""The protocols and ports of a rule without conditions."""

KNOWN_MASKS = 1024
"""Masks cached: one takes up to 16 KB when the rules distinguish all ports."""


class Condition(NamedTuple):
    """The condition of a rule: IP protocol numbers, and port ranges (none: any port)."""

    numbers: frozenset[int]
    ports: PortRanges

    def matches(self, protocol: int, port: int) -> bool:
        """Whether a flow matches; `port` is the destination port, ignored without port ranges."""
        if protocol not in self.numbers:
            return False
        return not self.ports or any(first <= port <= last for first, last in self.ports)


def protocol_name(protocol: int) -> str | None:
    """The name in rules of an IP protocol number; None if rules can't name it."""
    return next((name for name, numbers in PROTOCOL_NUMBERS.items() if protocol in numbers), None)


def names(rule: Rule) -> tuple[str, ...]:
    """The protocols a conditional rule can match, by name; without protocols, those with ports."""
    named = tuple(name for name in PROTOCOL_NUMBERS if name in rule.protocols)
    if not rule.ports:
        return named
    return tuple(name for name in named or WITH_PORTS if name in WITH_PORTS)


def condition(rule: Rule) -> Condition:
    """The condition of a conditional rule."""
    numbers = [number for name in names(rule) for number in PROTOCOL_NUMBERS[name]]
    return Condition(frozenset(numbers), rule.ports)


def describe(rule: Rule) -> str:
    """The condition of a rule in words: `icmp`, or `tcp or udp port 53, 8000-8100`."""
    protocols = " or ".join(names(rule) or sorted(rule.protocols))
    if not rule.ports:
        return protocols
    ports = (str(low) if low == high else f"{low}-{high}" for low, high in rule.ports)
    return f"{protocols} port {', '.join(ports)}"


class TrafficClasses:
    """Traffic as bit masks, fine enough for the given rules.

    Bit 0 is every protocol that rules cannot name, bit 1 is ICMP; then each port range between two
    boundaries has a bit for TCP and one for UDP.
    """

    OTHER = 1
    ICMP = 2

    def __init__(self, rules: Iterable[Rule], port: int | None = None) -> None:
        """The classes that the rules distinguish; `port`, if given, has a class of its own."""
        begins = {0} if port is None else {0, port, port + 1}
        for rule in rules:
            for first, last in rule.ports:
                begins.update((first, last + 1))
        self._begins = sorted(begin for begin in begins if begin <= LAST_PORT)
        self._position = {begin: number for number, begin in enumerate(self._begins)}
        self._position[LAST_PORT + 1] = len(self._begins)
        self._known: dict[tuple[frozenset[str], PortRanges], int] = {}
        count = len(self._begins)
        self.everything = (1 << (2 + 2 * count)) - 1

    def mask(self, rule: Rule) -> int:
        """The classes a rule matches at its addresses."""
        asked = rule.protocols, rule.ports
        if asked == ANYTHING:
            return self.everything
        found = self._known.get(asked)
        if found is None:
            if len(self._known) >= KNOWN_MASKS:
                self._known.clear()
            found = self._known[asked] = self._mask(names(rule), rule.ports)
        return found

    def mask_of(self, protocol: int | None, port: int | None) -> int:
        """The classes of flows as far as known; None is not known, but a port means TCP or UDP.

        `port` is the one given when the classes were made.
        """
        ports = () if port is None else ((port, port),)
        if protocol is None:
            return self._mask(WITH_PORTS, ports) if ports else self.everything
        name = protocol_name(protocol)
        if name is None:
            return self.OTHER
        return self._mask((name,), ports if name in WITH_PORTS else ())

    def shares(
        self, chain: Sequence[int], rules: Sequence[Rule], within: int | None = None
    ) -> Iterator[tuple[int, int]]:
        """(rule index, classes it decides for) along a chain; rules left with none are omitted.

        `rules` are all rules of the configuration; `within` limits the traffic (default: all).
        """
        left = self.everything if within is None else within
        for index in chain:
            share = left & self.mask(rules[index - 1]) if index else left
            if share:
                yield index, share
                left ^= share
                if not left:
                    return

    def _mask(self, protocols: tuple[str, ...], ports: PortRanges) -> int:
        wanted = 0
        for first, last in ports or ((0, LAST_PORT),):
            wanted |= (1 << self._position[last + 1]) - (1 << self._position[first])
        mask = self.ICMP if "icmp" in protocols else 0
        for position, name in enumerate(WITH_PORTS):
            if name in protocols:
                mask |= wanted << (2 + position * len(self._begins))
        return mask
