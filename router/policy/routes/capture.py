"""Which addresses enter the TUN, and by which routes.

An address is captured if some traffic to it may get a policy other than `bypass`. A route has no
ports, so a rule for one TCP port captures its whole prefix; the other traffic there enters the TUN
too, and later rules decide for it.

Always true: the planned routes cover the captured addresses, apart from those that are excluded,
and no other; nothing here depends on which policies are up.

Must not know: how routes are installed, where an MTU comes from.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from router.config.model import Config, PolicyType
from router.policy.match.flatten import Chain, Ranges
from router.policy.match.table import RuleSet
from router.policy.match.traffic import TrafficClasses
from router.policy.prefixes import FAMILIES, WIDTHS, join_ranges
from router.policy.resolve import policy_of
from router.policy.routes.aggregate import LabelledRange, fewest_blocks, fewest_routes


class Route(NamedTuple):
    """A route into the TUN: a prefix, and the MTU in bytes of the outbound that it leads to."""

    version: int
    first: int
    length: int
    mtu: int


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
) -> list[Route]:
    """The fewest routes for the captured addresses, sorted by family and address.

    `excluded` are addresses, as (version, address), that no route may cover.

    `mtu_of` gives the MTU in bytes of a policy, once for each that captured traffic can get: also
    `bypass`, where a captured address has it for some ports, and the other built-in ones. Where
    several can apply the smallest counts.
    """
    known: dict[str, int] = {}

    def smallest(names: Sequence[str]) -> int | None:
        if not _leaves_bypass(names):
            return None
        for name in names:
            if name not in known:
                known[name] = mtu_of(name)
        return min(known[name] for name in names)

    routes: list[Route] = []
    for version in FAMILIES:
        ranges = rule_set.table(version).ranges
        mtus = [smallest(names) for names in _outcomes_by_chain(config, ranges)]
        present = {mtu for mtu in mtus if mtu is not None}
        holes = sorted(address for of, address in excluded if of == version)
        covered = _without(ranges, holes) if holes else ranges
        if len(present) == 1:
            [mtu] = present
            blocks = fewest_blocks(covered, mtus, WIDTHS[version])
            routes += [Route(version, first, length, mtu) for first, length in blocks]
            continue
        planned = fewest_routes(_labelled(covered, mtus), WIDTHS[version])
        routes += [Route(version, first, length, mtu) for first, length, mtu in planned]
    return routes


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
    ranges: Iterable[tuple[int, int, int]], labels: Sequence[int | None]
) -> Iterator[LabelledRange]:
    for first, last, chain in ranges:
        yield first, last, labels[chain]


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
