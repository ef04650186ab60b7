"""Conditions of other programs' rules, as far as rules here can have them, and `and`, `or`, `not`.

Always true: a condition is the matches of which any holds; no match stands for nothing, so an empty
sequence is a condition that never holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Final

from router.config import schema
from router.config.cidr import BITS, BadCidrError, Cidr, parse_cidr
from router.config.foreign.model import Match, Ports
from router.config.ranges import parse_networks, split_range
from router.config.schema import MAXIMUM_PORT

PROTOCOLS: Final = frozenset(schema.PROTOCOLS)
MOST_WORK: Final = 1_000_000
"""Pairs of networks or ports that all intersections of a configuration look at, and networks that
its negations make."""


class UntranslatableError(Exception):
    """A condition that no rule here can have. `str` of it is the reason, a clause."""


def either(conditions: Iterable[Sequence[Match]]) -> tuple[Match, ...]:
    """Any of them."""
    return tuple(match for condition in conditions for match in condition)


class Combiner:
    """Combines the conditions of one configuration, within MOST_WORK: what would take more is
    refused, and what is less still goes."""

    def __init__(self) -> None:
        self._left = MOST_WORK

    def both(self, left: Sequence[Match], right: Sequence[Match]) -> tuple[Match, ...]:
        """Both of them. Raises UntranslatableError where that is too much work."""
        self._spend(_pairs(left, right), "the intersection of two lists as long as these")
        found = []
        for one, other in product(left, right):
            networks = _common_networks(one.networks, other.networks)
            ports = _common_ports(one.ports, other.ports)
            protocols = _common_protocols(one.protocols, other.protocols)
            if networks != () and ports != () and protocols != frozenset():
                found.append(Match(networks, ports, protocols))
        return tuple(found)

    def negated(self, condition: Sequence[Match]) -> tuple[Match, ...]:
        """All other traffic. Raises UntranslatableError where that is too much work."""
        found: tuple[Match, ...] = (Match(),)
        for match in condition:
            found = self.both(found, list(self._other_than(match)))
        return found

    def _other_than(self, match: Match) -> Iterator[Match]:
        """Traffic for which one of the three does not hold."""
        if match.networks is not None:
            networks = tuple(self._counted(_other_networks(match.networks)))
            if networks:
                yield Match(networks=networks)
        if match.ports is not None:
            ports = tuple(_gaps(match.ports, 1, MAXIMUM_PORT))
            if ports:
                yield Match(ports=ports)
        if match.protocols is not None and match.protocols != PROTOCOLS:
            yield Match(protocols=PROTOCOLS - match.protocols)

    def _counted(self, networks: Iterable[Cidr]) -> Iterator[Cidr]:
        for network in networks:
            self._spend(1, "everything but the networks of a list as long as this")
            yield network

    def _spend(self, work: int, what: str) -> None:
        if work > self._left:
            raise UntranslatableError(what)
        self._left -= work


def everything(version: int | None = None) -> Match:
    """All addresses, or those of a family."""
    return Match() if version is None else Match(networks=(Cidr(version, 0, 0),))


def port_ranges(parts: Iterable[str], separator: str) -> Ports:
    """Ports and ranges. An end that is missing is the first or last port.

    Raises UntranslatableError.
    """
    found = []
    for part in parts:
        first, joined, last = part.strip().partition(separator)
        low = _port(first, 0)
        high = _port(last, MAXIMUM_PORT) if joined else low
        if low > high or not (first or last):
            raise UntranslatableError(f"{part.strip()[:20]!r} is no port")
        found.append((max(low, 1), high))
    if not found or any(low > high for low, high in found):
        raise UntranslatableError("it names no port")
    return tuple(found)


def host_or_network(text: str) -> Cidr:
    """One network or address. Raises UntranslatableError."""
    try:
        return parse_cidr(text.strip())
    except BadCidrError as error:
        raise UntranslatableError(error.message) from None


def written_networks(text: str) -> tuple[Cidr, ...]:
    """A network, a range, or an address with a netmask, as lists of other programs have them.

    Raises UntranslatableError.
    """
    try:
        return parse_networks(text)
    except BadCidrError as error:
        address, _, mask = text.replace("/", " ", 1).partition(" ")
        if mask:
            from router.config.notations import from_mask  # noqa: PLC0415 - imports netaddr

            network = from_mask(address, mask.strip()) if "." in mask or ":" in mask else None
            if network is not None:
                return (parse_cidr(network),)
        raise UntranslatableError(error.message) from None


def _other_networks(networks: Iterable[Cidr]) -> Iterator[Cidr]:
    for version, bits in BITS.items():
        spans = [
            (each.first, each.first | (1 << bits - each.length) - 1)
            for each in networks
            if each.version == version
        ]
        for first, last in _gaps(spans, 0, (1 << bits) - 1):
            yield from (Cidr(version, *block) for block in split_range(first, last, bits))


def _gaps(spans: Iterable[tuple[int, int]], first: int, last: int) -> Iterator[tuple[int, int]]:
    """What spans leave of [first, last]."""
    begin = first
    for low, high in sorted(spans):
        if low > begin:
            yield begin, low - 1
        begin = max(begin, high + 1)
    if begin <= last:
        yield begin, last


def _pairs(left: Sequence[Match], right: Sequence[Match]) -> int:
    """Of matches, of networks and of ports."""
    networks = _count_networks(left) * _count_networks(right)
    ports = _count_ports(left) * _count_ports(right)
    return len(left) * len(right) + networks + ports


def _count_networks(condition: Sequence[Match]) -> int:
    return sum(len(match.networks or ()) for match in condition)


def _count_ports(condition: Sequence[Match]) -> int:
    return sum(len(match.ports or ()) for match in condition)


def _common_networks(
    left: tuple[Cidr, ...] | None, right: tuple[Cidr, ...] | None
) -> tuple[Cidr, ...] | None:
    if left is None or right is None:
        return right if left is None else left
    found = (_common_network(one, other) for one, other in product(left, right))
    return tuple(dict.fromkeys(each for each in found if each is not None))


def _common_network(one: Cidr, other: Cidr) -> Cidr | None:
    """Of two networks, one lies in the other or they have nothing in common."""
    if one.version != other.version:
        return None
    wide, narrow = (one, other) if one.length <= other.length else (other, one)
    return None if (wide.first ^ narrow.first) >> (BITS[wide.version] - wide.length) else narrow


def _common_ports(left: Ports | None, right: Ports | None) -> Ports | None:
    if left is None or right is None:
        return right if left is None else left
    pairs = ((max(a[0], b[0]), min(a[1], b[1])) for a, b in product(left, right))
    return tuple((low, high) for low, high in pairs if low <= high)


def _common_protocols(
    left: frozenset[str] | None, right: frozenset[str] | None
) -> frozenset[str] | None:
    if left is None or right is None:
        return right if left is None else left
    return left & right


def _port(text: str, otherwise: int) -> int:
    text = text.strip()
    if not text:
        return otherwise
    if not (text.isascii() and text.isdecimal()) or int(text[:9]) > MAXIMUM_PORT:
        raise UntranslatableError(f"{text[:20]!r} is no port")
    return int(text[:9])
