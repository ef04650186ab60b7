"""List files as sets of addresses: what is in any of them, or in one and in none of the others.

Theory of operation. A set is its ranges, ascending and apart from each other; joining sorts the
ranges of all, and subtracting walks along two such sequences once.

Always true: results are the fewest networks, ascending, IPv4 before IPv6.

Must not know: files, lines, rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from router.config.model import PrefixList
from router.config.ranges import split_range
from router.policy.prefixes import HOST_MASKS, WIDTHS, format_prefix, unpack

Span = tuple[int, int]
"""(first, last) address, both included."""


def merged(lists: Iterable[PrefixList]) -> Iterator[str]:
    """The networks of all addresses that are in any of the lists."""
    lists = list(lists)
    for version in WIDTHS:
        yield from _networks(version, _joined(lists, version))


def without(first: PrefixList, others: Iterable[PrefixList]) -> Iterator[str]:
    """The networks of the addresses of the first list that are in none of the others."""
    others = list(others)
    for version in WIDTHS:
        left = _subtracted(_joined([first], version), _joined(others, version))
        yield from _networks(version, left)


def _joined(lists: Iterable[PrefixList], version: int) -> list[Span]:
    joined: list[Span] = []
    end = -1
    for first, last in sorted(span for each in lists for span in _spans(each, version)):
        if joined and first <= end + 1:
            if last > end:
                joined[-1] = joined[-1][0], last
                end = last
        else:
            joined.append((first, last))
            end = last
    return joined


def _spans(prefixes: PrefixList, version: int) -> Iterator[Span]:
    masks = HOST_MASKS[version]
    for packed in prefixes.packed(version):
        first, length = unpack(packed)
        yield first, first | masks[length]
    for each in prefixes.ranges:
        if each.version == version:
            yield each.first, each.last


def _subtracted(spans: Iterable[Span], others: Sequence[Span]) -> Iterator[Span]:
    position = 0
    for first, last in spans:
        begin = first
        while position < len(others) and others[position][0] <= last:
            hole_first, hole_last = others[position]
            if begin < hole_first:
                yield begin, hole_first - 1
            begin = max(begin, hole_last + 1)
            if hole_last > last:
                break
            position += 1
        if begin <= last:
            yield begin, last


def _networks(version: int, spans: Iterable[Span]) -> Iterator[str]:
    for first, last in spans:
        for block in split_range(first, last, WIDTHS[version]):
            yield format_prefix(version, *block)
