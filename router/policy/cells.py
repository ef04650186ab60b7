"""The parts of the address space in which a system may choose another source address, and the
ranges that its answers make of them.

A system is asked once for each part. Boundaries come from its routes and rules and, for IPv6, from
what source address selection compares (RFC 6724): the blocks of its policy table, and the bits in
which addresses of the interface differ.

Always true: the parts are disjoint and fill the address space; there are at most MOST_CELLS.

Must not know: how a system is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import IPv4Interface, IPv6Interface, ip_network
from typing import Final

from router.policy.network import Metrics, SourceRange
from router.policy.prefixes import HOST_MASKS, WIDTHS

Block = tuple[int, int]
"""(first, length) of a prefix."""
Choice = tuple[int, Metrics]
"""A source address, and the metrics of the route."""
MOST_CELLS: Final = 128
"""More would delay the packets by some milliseconds at each change of routes; beyond that one
answer counts for every destination."""


def _blocks(*prefixes: str) -> tuple[Block, ...]:
    networks = map(ip_network, prefixes)
    return tuple((int(network.network_address), network.prefixlen) for network in networks)


POLICY_TABLE: Final = _blocks(
    *("::1/128", "::/96", "::ffff:0:0/96", "2001::/32", "2001:10::/28", "2002::/16"),
    *("3ffe::/16", "fc00::/7", "fec0::/10"),
)
"""RFC 6724, section 2.1, and the ORCHID block that Linux adds (net/ipv6/addrlabel.c)."""
UNASKED: Final = {
    4: _blocks("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4", "255.255.255.255/32"),
    6: _blocks("::/128", "::1/128", "fe80::/10", "ff00::/8"),
}
"""Packets to these never need a route of ours, so the source of their neighbours is as good: the
fewest routes result."""
TYPICAL: Final = {4: int.from_bytes(bytes([198, 51, 100, 1])), 6: 0x20010DB8 << 96 | 1}
"""What is asked for where there are too many parts: addresses for documentation (RFC 5737, RFC
3849), which no route but a default one is for."""


def parting_blocks(addresses: Sequence[IPv6Interface | IPv4Interface]) -> Iterator[Block]:
    """The blocks around each address in which it has more leading bits in common with a destination
    than another one of them has, no longer than its network (RFC 6724, section 5, rule 8)."""
    for own in addresses:
        address = int(own.ip)
        longest = own.network.prefixlen
        for length in {min(_common(own, other) + 1, longest) for other in addresses}:
            yield address & ~HOST_MASKS[own.version][length], length


def _common(own: IPv6Interface | IPv4Interface, other: IPv6Interface | IPv4Interface) -> int:
    """The leading bits that `own` has in common with another one, as far as that counts them."""
    common = own.max_prefixlen - (int(own.ip) ^ int(other.ip)).bit_length()
    return min(common, other.network.prefixlen)


def source_ranges(
    version: int, boundaries: Iterable[Block], ask: Callable[[int], Choice | None]
) -> tuple[SourceRange, ...]:
    """What the system answers for each part between `boundaries`, equal neighbours joined.

    `ask` gives its choice for a destination; None where it has none.
    """
    width = WIDTHS[version]
    starts = {0}
    for first, length in (*boundaries, *UNASKED[version]):
        starts.update((first, first + (1 << (width - length))))
    starts.discard(1 << width)
    if len(starts) > MOST_CELLS:
        choice = ask(TYPICAL[version])
        return () if choice is None else (SourceRange(0, (1 << width) - 1, *choice),)
    return tuple(_joined(sorted(starts), ask, version))


def _joined(
    starts: Sequence[int], ask: Callable[[int], Choice | None], version: int
) -> Iterator[SourceRange]:
    begin, current, unknown = 0, None, True
    for start in starts:
        if _is_unasked(version, start):
            continue
        choice = ask(start)
        if unknown:
            current, unknown = choice, False
        elif choice != current:
            if current is not None:
                yield SourceRange(begin, start - 1, *current)
            begin, current = start, choice
    if current is not None:
        yield SourceRange(begin, (1 << WIDTHS[version]) - 1, *current)


def _is_unasked(version: int, address: int) -> bool:
    masks = HOST_MASKS[version]
    return any(address & ~masks[length] == first for first, length in UNASKED[version])
