"""What a lookup costs with ten prefixes, ten thousand and a million: time, build time and memory.

Run: python -m bench.lookup [--largest N] [--probes N]

Uncached: every probe is an address of its own, in random order, half of them inside prefixes. Sizes
take turns within a round, so that what disturbs the machine disturbs all; medians of the rounds.
The line to look at is the ratio of the largest size to the 10,000: under 1.5 is promised. Beside it
the same for a plain bisect over the range starts, which is what one would write first.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from bisect import bisect_right
from collections.abc import Callable
from random import Random
from statistics import median
from typing import NamedTuple

from router.config.model import Config, Place, PrefixList, Rule, Tun
from router.config.packed import LENGTH_BITS
from router.policy.match.table import PlainTable, RuleSet, Table
from router.policy.routes.capture import plan_routes

WIDTHS = {4: 32, 6: 128}
REFERENCE = 10_000
ROUNDS = 5
PLACE = Place("bench.yaml", 1, 1)


class Shape(NamedTuple):
    """How prefixes are spread: their lengths, and in how many /16s (0: anywhere)."""

    name: str
    version: int
    lengths: tuple[int, int]
    heads: int = 0


SHAPES = (
    Shape("IPv4, /16 to /32, anywhere", 4, (16, 32)),
    Shape("IPv4, hosts, anywhere", 4, (32, 32)),
    Shape("IPv4, /24 to /32, in 20 /16s", 4, (24, 32), 20),
    Shape("IPv6, /29 to /64 in 2000::/3", 6, (29, 64)),
    Shape("IPv6, /29 to /64 in 20 /16s", 6, (29, 64), 20),
    Shape("IPv6, hosts in 2000::/3", 6, (128, 128)),
)


def draw_prefixes(shape: Shape, count: int, random: Random) -> PrefixList:
    width = WIDTHS[shape.version]
    heads = [0x2000 | random.getrandbits(13) for _ in range(shape.heads)]
    result = PrefixList("bench.txt")
    packed = result.packed(shape.version)
    for _ in range(count):
        address = draw_address(shape.version, random)
        if heads:
            low = address & ((1 << (width - 16)) - 1)
            address = random.choice(heads) << (width - 16) | low
        length = random.randint(*shape.lengths)
        first = address >> (width - length) << (width - length)
        packed.append(first << LENGTH_BITS | length)
    return result


def draw_address(version: int, random: Random) -> int:
    return random.getrandbits(32) if version == 4 else 1 << 125 | random.getrandbits(125)


def draw_probes(shape: Shape, prefixes: PrefixList, count: int, random: Random) -> list[int]:
    """Half at random, half inside prefixes."""
    width = WIDTHS[shape.version]
    packed = prefixes.packed(shape.version)
    probes = [draw_address(shape.version, random) for _ in range(count // 2)]
    for _ in range(count - len(probes)):
        chosen = random.choice(packed)
        host_bits = width - (chosen & 255)
        probes.append(chosen >> LENGTH_BITS | (random.getrandbits(host_bits) if host_bits else 0))
    random.shuffle(probes)
    return probes


def config_of(prefixes: PrefixList) -> Config:
    rule = Rule(1, PLACE, "drop", PLACE, lists=(prefixes,))
    return Config("bench.yaml", Tun(None, (), 1500), {}, (rule,), "bypass")


def plain_bisect(table: Table | PlainTable) -> Callable[[int], object]:
    starts, ids, chains = table.ranges.starts, table.ranges.chain_ids, table.ranges.chains
    return lambda address: chains[ids[bisect_right(starts, address) - 1]]


def nanoseconds(lookup: Callable[[int], object], probes: list[int]) -> float:
    begin = time.perf_counter_ns()
    for address in probes:
        lookup(address)
    return (time.perf_counter_ns() - begin) / len(probes)


class Case:
    """One size of one shape, built once, timed in several rounds."""

    def __init__(self, shape: Shape, count: int, probe_count: int) -> None:
        random = Random(f"{shape.name} {count}")
        prefixes = draw_prefixes(shape, count, random)
        self.count = count
        self.probes = draw_probes(shape, prefixes, probe_count, random)
        config = config_of(prefixes)
        begin = time.perf_counter()
        rule_set = RuleSet.build(config)
        self.build_s = time.perf_counter() - begin
        begin = time.perf_counter()
        self.routes = len(plan_routes(config, rule_set, lambda _: 1500))
        self.plan_s = time.perf_counter() - begin
        table = rule_set.table(shape.version)
        self.ranges = len(table.ranges.starts)
        self.outbounds = {"table": table.lookup, "bisect": plain_bisect(table)}
        self.times: dict[str, list[float]] = {outbound: [] for outbound in self.outbounds}

    def run(self) -> None:
        for outbound, lookup in self.outbounds.items():
            self.times[outbound].append(nanoseconds(lookup, self.probes))

    def median(self, outbound: str) -> float:
        return median(self.times[outbound])


def report(shape: Shape, sizes: list[int], probe_count: int) -> None:
    print(shape.name)
    cases = [Case(shape, size, probe_count) for size in sizes]
    for _ in range(ROUNDS):
        for case in cases:
            case.run()
    reference = next(case for case in cases if case.count == REFERENCE)
    for case in cases:
        ratios = {
            outbound: case.median(outbound) / reference.median(outbound)
            for outbound in case.outbounds
        }
        print(
            f"  {case.count:>9,} prefixes, {case.ranges:>9,} ranges:"
            f"  lookup {case.median('table'):5.0f} ns, ratio {ratios['table']:.2f}"
            f"  (bisect {case.median('bisect'):5.0f} ns, {ratios['bisect']:.2f})"
            f"  build {case.build_s:.2f} s  plan {case.plan_s:.2f} s for {case.routes:,} routes"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description="Times lookups among many prefixes.")
    parser.add_argument("--largest", type=int, default=1_000_000, help="prefixes (1,000,000)")
    parser.add_argument("--probes", type=int, default=200_000, help="lookups a round (200,000)")
    parser.add_argument("--shape", type=int, choices=range(len(SHAPES)), help="one shape only")
    arguments = parser.parse_args()
    shapes = SHAPES if arguments.shape is None else [SHAPES[arguments.shape]]
    for shape in shapes:
        report(shape, sorted({10, REFERENCE, arguments.largest}), arguments.probes)
    scale = 1 << 20 if sys.platform == "darwin" else 1 << 10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale
    print(f"peak memory of this process: {peak:.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
