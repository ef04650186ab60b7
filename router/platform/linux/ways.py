"""Which way packets would go if the TUNs of this program were not there.

Theory of operation. Our routes are in the main table beside the system's own, so the kernel's plain
answer is often the TUN. Where it is anything else, it is final. Otherwise the kernel is asked for
the route by each interface: it leaves out every route by others, ours among them, and next hops
that are dead; rules, tables and nexthop objects are its own affair. Of these answers the one counts
that it would have met first: by the order of the rules, then the longest prefix, the least metric,
the highest router preference (RFC 4191).

The default route is the one that answers for an address that nothing else is about. Such addresses
are PROBES; to none of them anything is sent.

Must not know: policies.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address
from typing import Final

from router.platform.linux.kernel_routes import read_lookups
from router.platform.linux.netlink.constants import RTN_UNICAST, RTPROT_TUNROUTER
from router.platform.linux.netlink.route_lookup import Answer, RouteLookup
from router.policy.kernel import Way
from router.policy.network import Interface, TableLookup

PROBES: Final = {
    version: tuple(ip_address(address).packed for address in addresses)
    for version, addresses in (
        (4, ("240.0.0.1", "192.0.0.8", "9.0.0.1")),
        (6, ("4000::1", "a000::1", "3fff:ffff::1")),
    )
}
"""Reserved or unassigned, the last of IPv4 apart: in no table of the internet's routes."""

SIZE: Final = {4: 4, 6: 16}


class LinuxWays:
    """See KernelWays. Of one moment as to interfaces and rules.

    present: all interfaces. tuns: the names of those of this program.
    """

    def __init__(self, present: Iterable[Interface], tuns: Iterable[str]) -> None:
        """Raises OSError."""
        left_out = set(tuns)
        self._tuns = {each.index for each in present if each.name in left_out}
        self._candidates = {
            each.index: each.name for each in present if each.index not in self._tuns
        }
        self._indices = {name: index for index, name in self._candidates.items()}
        self._lookup = RouteLookup()
        self._tables = tuple(read_lookups(self._lookup.socket))

    def close(self) -> None:
        self._lookup.close()

    def way(self, version: int, address: int) -> Way | None:
        destination = address.to_bytes(SIZE[version], "big")
        plain = self._lookup.ask(version, destination)
        if plain is None or plain.interface not in self._tuns:
            return self._as_way(plain)
        best = self._best(version, self._by_interface(version, destination))
        if best is None:
            return None
        return self._as_way(self._lookup.ask(version, destination, oif=best))

    def way_by(
        self, version: int, address: int, interface: str, source: bytes | None
    ) -> Way | None:
        index = self._indices.get(interface)
        if index is None:
            return None
        destination = address.to_bytes(SIZE[version], "big")
        way = self._as_way(self._lookup.ask(version, destination, oif=index, source=source))
        return way._replace(source=source) if way is not None and source is not None else way

    def default_holder(self, version: int) -> str | None:
        for probe in PROBES[version]:
            matched = self._lookup.ask(version, probe, matched=True)
            if matched is not None and _is_default(matched):
                way = self._as_way(self._lookup.ask(version, probe))
                return None if way is None else way.interface
        found = {
            index: answer
            for index in self._candidates
            if (answer := self.default_by(version, index)) is not None
        }
        best = self._best(version, found)
        return None if best is None else self._candidates[best]

    def default_by(self, version: int, index: int) -> Answer | None:
        """The default route for a socket that is bound to an interface."""
        return default_by(self._lookup, version, index)

    def _as_way(self, answer: Answer | None) -> Way | None:
        if answer is None or answer.kind != RTN_UNICAST:
            return None
        name = self._candidates.get(answer.interface)
        return None if name is None else Way(name, answer.source, answer.gateway)

    def _by_interface(self, version: int, destination: bytes) -> Mapping[int, Answer]:
        return {
            index: answer
            for index in self._candidates
            if (answer := self._lookup.ask(version, destination, oif=index, matched=True))
            and _is_of_the_system(answer)
        }

    def _best(self, version: int, found: Mapping[int, Answer]) -> int | None:
        """The index of the interface whose route the kernel would meet first."""

        def order(index: int) -> tuple[int, ...]:
            answer = found[index]
            position = _position(self._tables, version, answer)
            return position, -answer.length, answer.metric, -answer.preference, index

        return min(found, key=order, default=None)


def default_by(lookup: RouteLookup, version: int, index: int) -> Answer | None:
    """The system's default route for a socket that is bound to the interface `index`."""
    for probe in PROBES[version]:
        answer = lookup.ask(version, probe, oif=index, matched=True)
        if answer is None:
            continue
        if _is_default(answer):
            return answer
    return None


def _is_default(matched: Answer) -> bool:
    return not matched.length and _is_of_the_system(matched)


def _is_of_the_system(matched: Answer) -> bool:
    return matched.kind == RTN_UNICAST and matched.protocol != RTPROT_TUNROUTER


def _position(tables: Sequence[TableLookup], version: int, answer: Answer) -> int:
    """Of the first lookup that would have given the answer; a table that only packets of a bound
    socket are looked up in comes last."""
    for position, lookup in enumerate(tables):
        if (lookup.version, lookup.table) == (
            version,
            answer.table,
        ) and answer.length > lookup.ignored_length:
            return position
    return len(tables)
