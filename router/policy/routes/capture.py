"""Which addresses enter the TUN, and by which routes.

An address is captured if some traffic to it may get a policy other than `bypass`. A route has no
ports, so a rule for one TCP port captures its whole prefix; the other traffic there enters the TUN
too, and later rules decide for it.

Always true: the planned routes cover the captured addresses, apart from those that are excluded,
and no other; nothing here depends on which policies are up.

Must not know: how routes are installed, where an MTU or a source address comes from.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from router.config.model import Config, PolicyType
from router.policy.match.flatten import Chain, Ranges
from router.policy.match.table import RuleSet
from router.policy.match.traffic import TrafficClasses
from router.policy.network import Metrics, SourceRange
from router.policy.prefixes import FAMILIES, WIDTHS, join_ranges
from router.policy.resolve import policy_of
from router.policy.routes.aggregate import LabelledRange, fewest_blocks, fewest_routes
from router.policy.routes.route import Label, Route

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Cells(NamedTuple):
    """Labels for parts of the address space: labels[i] from starts[i] on; the first start is 0."""

    starts: Sequence[int]
    labels: Sequence[Label]


SourcesOf = Callable[[int, Sequence[str]], Sequence[SourceRange]]
"""By IP version and the policies that traffic to an address can get: its source addresses."""


def outcomes(config: Config, chain: Chain, traffic: TrafficClasses) -> list[str]:
    """The policies that some traffic to an address with this chain can get, in their order."""
    return [policy_of(config, index) for index, _ in traffic.shares(chain, config.rules)]


def is_captured(config: Config, rule_set: RuleSet, version: int, address: int) -> bool:
    """Whether packets to an address enter the TUN."""
    chain = rule_set.chain(version, address)
    traffic = TrafficClasses(config.rules[index - 1] for index in chain if index)
    return _leaves_bypass(outcomes(config, chain, traffic))


def captured_ranges(config: Config, rule_set: RuleSet, version: int) -> list[tuple[int, int]]:
    """All captured addresses of one family as (first, last), ascending, none adjacent."""
    ranges = rule_set.table(version).ranges
    captured = [_leaves_bypass(names) for names in _outcomes_by_chain(config, ranges)]
    return list(join_ranges((first, last) for first, last, chain in ranges if captured[chain]))


def plan_routes(
    config: Config,
    rule_set: RuleSet,
    mtu_of: Callable[[str], int],
    excluded: Collection[tuple[int, int]] = (),
    sources_of: SourcesOf = lambda _version, _policies: (),
) -> list[Route]:
    """The fewest routes for the captured addresses, sorted by family and address.

    `excluded` are addresses, as (version, address), that no route may cover.

    `mtu_of` gives the MTU in bytes of a policy, once for each that captured traffic can get: also
    `bypass`, where a captured address has it for some ports, and the other built-in ones. Where
    several can apply the smallest counts. `sources_of` is called once for each combination of
    policies.
    """
    mtus = _Known(mtu_of)
    routes: list[Route] = []
    for version in FAMILIES:

        def cells_of(names: tuple[str, ...], version: int = version) -> Cells | None:
            if not _leaves_bypass(names):
                return None
            mtu = min(mtus[name] for name in names)
            return _cells(mtu, sources_of(version, names), WIDTHS[version])

        known = _Known(cells_of)
        ranges = rule_set.table(version).ranges
        cells = [known[tuple(names)] for names in _outcomes_by_chain(config, ranges)]
        holes = sorted(address for of, address in excluded if of == version)
        covered = _without(ranges, holes) if holes else ranges
        routes += _routes(version, covered, cells)
    return routes


class _Known(dict[_Key, _Value]):
    """What a function gives, called once for each argument."""

    def __init__(self, function: Callable[[_Key], _Value]) -> None:
        super().__init__()
        self._function = function

    def __missing__(self, key: _Key) -> _Value:
        value = self[key] = self._function(key)
        return value


def _routes(
    version: int, ranges: Iterable[tuple[int, int, int]], cells: Sequence[Cells | None]
) -> list[Route]:
    """The fewest routes for `ranges`, (first, last, index into `cells`), that are captured."""
    width = WIDTHS[version]
    labels = sorted({label for each in cells if each for label in each.labels}, key=_order)
    if len(labels) == 1:
        [label] = labels
        blocks = fewest_blocks(ranges, cells, width)
        return [Route(version, first, length, label) for first, length in blocks]
    numbers = {label: number for number, label in enumerate(labels)}
    planned = fewest_routes(_labelled(ranges, cells, numbers), width)
    return [Route(version, first, length, labels[number]) for first, length, number in planned]


def _order(label: Label) -> tuple[int, int, Metrics]:
    return label.mtu, -1 if label.source is None else label.source, label.metrics


def _cells(mtu: int, sources: Sequence[SourceRange], width: int) -> Cells:
    """`sources` in one MTU; no source where they leave gaps."""
    starts, labels = [0], [Label(mtu)]
    for first, last, source, metrics in sources:
        label = Label(mtu, source, metrics)
        if starts[-1] == first:
            labels[-1] = label
        else:
            starts.append(first)
            labels.append(label)
        starts.append(last + 1)
        labels.append(Label(mtu))
    if starts[-1] == 1 << width:
        del starts[-1], labels[-1]
    return Cells(starts, labels)


def _without(
    ranges: Iterable[tuple[int, int, int]], holes: Sequence[int]
) -> Iterator[tuple[int, int, int]]:
    """The ranges without the addresses `holes`, which are ascending, as the ranges are."""
    left = deque(holes)
    for first, last, chain in ranges:
        begin = first
        while left and left[0] <= last:
            hole = left.popleft()
            if begin <= hole - 1:
                yield begin, hole - 1, chain
            begin = max(begin, hole + 1)
        if begin <= last:
            yield begin, last, chain


def _labelled(
    ranges: Iterable[tuple[int, int, int]],
    cells: Sequence[Cells | None],
    numbers: Mapping[Label, int],
) -> Iterator[LabelledRange]:
    """The ranges cut at the boundaries of their cells; those without cells are left out."""
    for first, last, chain in ranges:
        own = cells[chain]
        if own is None:
            continue
        starts, labels = own
        position = bisect_right(starts, first) - 1
        begin = first
        while position + 1 < len(starts) and starts[position + 1] <= last:
            yield begin, starts[position + 1] - 1, numbers[labels[position]]
            position += 1
            begin = starts[position]
        yield begin, last, numbers[labels[position]]


def _outcomes_by_chain(config: Config, ranges: Ranges) -> list[list[str]]:
    """The policies of each chain id; none for chains that are in no range."""
    traffic = TrafficClasses(config.rules)
    used = set(ranges.chain_ids)
    return [
        outcomes(config, chain, traffic) if chain_id in used else []
        for chain_id, chain in enumerate(ranges.chains)
    ]


def _leaves_bypass(policy_names: Sequence[str]) -> bool:
    return any(name != PolicyType.BYPASS for name in policy_names)
