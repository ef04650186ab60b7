"""Ranges with a label each -> the fewest routes that give every address its label.

The kernel takes the longest prefix that matches, so a /24 inside a /8 needs one route more, not
sixteen. The fewest routes are found as by ORTC (Draves, King, Venkatachary and Zill, "Constructing
Optimal IP Routing Tables", INFOCOM 1999): from the leaves up, the labels of lowest cost are
computed for each block; from the top down, a block gets a route only where the inherited label is
none of these. Addresses without a label must match no route, a case that ORTC does not have: so it
is applied to each of the largest aligned blocks in which every address has a label.

Always true: longest-prefix match over the result gives each address its label, and none to an
address without one; no /0 is in the result, but two halves.

Must not know: what labels mean.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence

from router.config.ranges import split_range
from router.policy.prefixes import last_address

LabelledRange = tuple[int, int, int | None]
"""(first, last, label); None: no route may cover it."""

LabelledRun = tuple[int, int, int]
"""(first, last, label), all labelled."""

LabelledPrefix = tuple[int, int, int]
"""(first, length, label)."""


LEAF = 0
"""In place of the number of a node's low half, which is stored plus one."""


class OrtcTree:
    """The full binary tree over the labelled prefixes of one aligned block, in post-order, root
    last.

    `best[n]` has a bit for each label that node n can inherit at the lowest cost. A node's high
    half is the node just before it; `low[n]` is its low half plus one, or LEAF.
    """

    def __init__(
        self, length: int, prefixes: Iterable[LabelledPrefix], bits: dict[int, int]
    ) -> None:
        """`length` is that of the block, which the ascending prefixes fill."""
        self.length = length
        self.best: list[int] = []
        self.low = array("I")
        waiting: list[tuple[int, int]] = []
        for _, prefix_length, label in prefixes:
            self._add(bits[label], LEAF)
            depth = prefix_length
            while waiting and waiting[-1][0] == depth:
                _, sibling = waiting.pop()
                low, high = self.best[sibling], self.best[-1]
                self._add(low & high or low | high, sibling + 1)
                depth -= 1
            waiting.append((depth, len(self.best) - 1))

    def _add(self, best: int, low: int) -> None:
        self.best.append(best)
        self.low.append(low)

    def routes(self, first: int, labels: list[int], width: int) -> Iterator[LabelledPrefix]:
        """From the top down, ascending; of equally good labels the lowest."""
        todo = [(len(self.best) - 1, first, self.length, 0)]
        while todo:
            node, first, length, inherited = todo.pop()
            best = self.best[node]
            if not inherited & best:
                inherited = best & -best
                yield first, length, labels[inherited.bit_length() - 1]
            low = self.low[node]
            if low != LEAF:
                middle = first | 1 << (width - length - 1)
                todo.append((node - 1, middle, length + 1, inherited))
                todo.append((low - 1, first, length + 1, inherited))


def fewest_routes(ranges: Iterable[LabelledRange], width: int) -> Iterator[LabelledPrefix]:
    """The routes, ascending, for ascending disjoint ranges that may leave gaps (no label there)."""
    for run in labelled_runs(ranges):
        if len(run) == 1:
            begin, end, label = run[0]
            for first, length in _blocks(begin, end, width):
                yield first, length, label
        else:
            yield from _routes_of_run(run, width)


def fewest_blocks(
    ranges: Iterable[tuple[int, int, int]], labels: Sequence[object], width: int
) -> Iterator[tuple[int, int]]:
    """The same where all labels are equal, as (first, length), in half of the time.

    `ranges` are (first, last, index into `labels`) as of Ranges; no route where the label is None.
    """
    begin = end = -1
    for first, last, index in ranges:
        if labels[index] is None:
            continue
        if end + 1 == first and begin >= 0:
            end = last
            continue
        if begin >= 0:
            size = end - begin + 1
            if (size | begin) & (size - 1):
                yield from split_range(begin, end, width)
            else:
                yield begin, width + 1 - size.bit_length()
        begin, end = first, last
    if begin >= 0:
        yield from _blocks(begin, end, width)


def labelled_runs(ranges: Iterable[LabelledRange]) -> Iterator[list[LabelledRun]]:
    """The ranges without gaps between them; neighbours of equal label joined."""
    run: list[LabelledRun] = []
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


def _blocks(first: int, last: int, width: int) -> Iterator[tuple[int, int]]:
    """The largest aligned blocks of a range; two halves for everything."""
    if last - first + 1 == 1 << width:
        return iter([(0, 1), (1 << (width - 1), 1)])
    return split_range(first, last, width)


def _routes_of_run(run: list[LabelledRun], width: int) -> Iterator[LabelledPrefix]:
    """The fewest routes for ranges without gaps, block by block."""
    position = 0
    for first, length in _blocks(run[0][0], run[-1][1], width):
        last = last_address(first, length, width)
        parts = []
        while position < len(run) and run[position][0] <= last:
            begin, end, label = run[position]
            parts.append((max(begin, first), min(end, last), label))
            if end > last:
                break
            position += 1
        yield from _routes_of_block(first, length, parts, width)


def _routes_of_block(
    first: int, length: int, parts: list[LabelledRun], width: int
) -> Iterator[LabelledPrefix]:
    """The fewest routes within one block that the ranges `parts` fill."""
    labels = sorted({label for _, _, label in parts})
    if len(labels) == 1:
        return iter([(first, length, labels[0])])
    bits = {label: 1 << position for position, label in enumerate(labels)}
    prefixes = (
        (start, part_length, label)
        for begin, end, label in parts
        for start, part_length in split_range(begin, end, width)
    )
    return OrtcTree(length, prefixes, bits).routes(first, labels, width)
