"""Ranges with a label each -> the fewest routes that give every address its label.

The kernel takes the longest prefix that matches, so a /24 inside a /8 needs one route more, not
sixteen. The fewest routes are found as by ORTC (Draves, King, Venkatachary and Zill, "Constructing
Optimal IP Routing Tables", INFOCOM 1999): from the leaves up, each block learns which labels cost
least for itself; from the top down, a block gets a route only where what it inherits is none of
these. Addresses without a label must match no route, which ORTC does not know: so it is applied to
each of the largest aligned blocks in which every address has a label.

Always true: longest-prefix match over the result gives each address its label, and none to an
address without one; no /0 is in the result, but two halves.

Must not know: what labels mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from router.policy.prefixes import last_address, split_range

LabelledRange = tuple[int, int, int | None]
"""(first, last, label); None: no route may cover it."""

LabelledPrefix = tuple[int, int, int]
"""(first, length, label)."""


class Block(NamedTuple):
    """A node of the binary tree over one aligned block; leaves have no halves.

    `best` has a bit for each label which the block can inherit at the lowest cost.
    """

    first: int
    length: int
    best: int
    halves: tuple[Block, Block] | None = None


def fewest_routes(ranges: Iterable[LabelledRange], width: int) -> list[LabelledPrefix]:
    """The routes, sorted, for ascending disjoint ranges that may leave gaps (no label there)."""
    routes: list[LabelledPrefix] = []
    for run in labelled_runs(ranges):
        position = 0
        for first, length in split_range(run[0][0], run[-1][1], width):
            for half, half_length in _halves_of_everything(first, length, width):
                last = last_address(half, half_length, width)
                pieces = []
                while position < len(run) and run[position][0] <= last:
                    begin, end, label = run[position]
                    pieces.append((max(begin, half), min(end, last), label))
                    if end > last:
                        break
                    position += 1
                routes += _routes_of_block(half, half_length, pieces, width)
    return routes


def labelled_runs(ranges: Iterable[LabelledRange]) -> Iterator[list[tuple[int, int, int]]]:
    """The ranges without gaps between them; neighbours of equal label joined."""
    run: list[tuple[int, int, int]] = []
    for first, last, label in ranges:
        if label is None:
            continue
        if run and run[-1][1] + 1 != first:
            yield run
            run = []
        if run and run[-1][2] == label:
            run[-1] = run[-1][0], last, label
        else:
            run.append((first, last, label))
    if run:
        yield run


def _halves_of_everything(first: int, length: int, width: int) -> list[tuple[int, int]]:
    if length:
        return [(first, length)]
    return [(0, 1), (1 << (width - 1), 1)]


def _routes_of_block(
    first: int, length: int, pieces: list[tuple[int, int, int]], width: int
) -> list[LabelledPrefix]:
    """The fewest routes within one block that the pieces fill."""
    if len(pieces) == 1:
        return [(first, length, pieces[0][2])]
    labels = sorted({label for _, _, label in pieces})
    bits = {label: 1 << position for position, label in enumerate(labels)}
    return list(_assign(_grow(pieces, bits, width), labels))


def _grow(pieces: list[tuple[int, int, int]], bits: dict[int, int], width: int) -> Block:
    """The tree over the pieces, from the leaves up: buddies are joined as soon as both exist."""
    waiting: list[Block] = []
    for begin, end, label in pieces:
        for first, length in split_range(begin, end, width):
            block = Block(first, length, bits[label])
            while waiting and waiting[-1].length == block.length:
                low = waiting.pop()
                best = low.best & block.best or low.best | block.best
                block = Block(low.first, low.length - 1, best, (low, block))
            waiting.append(block)
    (root,) = waiting
    return root


def _assign(root: Block, labels: list[int]) -> Iterator[LabelledPrefix]:
    """The routes, from the top down, ascending; of equally good labels the lowest."""
    todo = [(root, 0)]
    while todo:
        block, inherited = todo.pop()
        if not inherited & block.best:
            inherited = block.best & -block.best
            yield block.first, block.length, labels[inherited.bit_length() - 1]
        if block.halves:
            low, high = block.halves
            todo += [(high, inherited), (low, inherited)]
