"""Special-purpose addresses in rules that have no effect: the kernel never routes them to another
device, or no host can answer them.

Sources: RFC 6890 and the IANA special-purpose address registries; RFC 1122, section 3.2.1.3.

Must not know: the system.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from router.config.model import Config, Rule
from router.config.packed import LENGTH_BITS
from router.config.problems import Problem, Severity
from router.policy.findings.situation import captures, place_of_prefix
from router.policy.findings.wording import plural, prefixes
from router.policy.prefixes import LENGTH_MASK, WIDTHS, unpack


class Block(NamedTuple):
    """A special-purpose block and its name."""

    first: int
    length: int
    name: str


BLOCKS = {
    4: (
        Block(0, 8, "'this network'"),
        Block(127 << 24, 8, "loopback"),
        Block(0xA9FE0000, 16, "link-local"),
        Block(0xE0000000, 4, "multicast"),
        Block(0xFFFFFFFF, 32, "limited broadcast"),
    ),
    6: (
        Block(0, 128, "the unspecified address"),
        Block(1, 128, "loopback"),
        Block(0xFE80 << 112, 10, "link-local"),
        Block(0xFF << 120, 8, "multicast"),
    ),
}
FIRST_BYTES = {
    4: frozenset({0, 127, 169, *range(224, 240), 255}),
    6: frozenset({0, 0xFE, 0xFF}),
}
"""First bytes of the addresses in the blocks, to rule out most prefixes at low cost."""


def find(config: Config) -> Iterator[Problem]:
    """One finding for each rule and kind of address."""
    for rule in config.rules:
        if captures(rule.policy):
            yield from _of_rule(rule)


def _of_rule(rule: Rule) -> Iterator[Problem]:
    found: dict[str, list[tuple[int, int, int]]] = {}
    for version, blocks in BLOCKS.items():
        shift, first_bytes = WIDTHS[version] + LENGTH_BITS - 8, FIRST_BYTES[version]
        for packed in rule.packed(version):
            if packed >> shift in first_bytes:
                name = _block(packed, blocks, WIDTHS[version])
                if name is not None:
                    found.setdefault(name, []).append((version, *unpack(packed)))
    for name, inside in found.items():
        yield Problem(
            "special-address",
            Severity.WARNING,
            place_of_prefix(rule, *inside[0]),
            f"{prefixes(inside)} {plural(len(inside), 'is', 'are')} {name}: "
            f"'{rule.policy}' has no effect there",
            "such packets never leave their own machine or link: leave this out of the rule",
        )


def _block(packed: int, blocks: tuple[Block, ...], width: int) -> str | None:
    """The block that a packed prefix lies in as a whole."""
    first, length = packed >> LENGTH_BITS, packed & LENGTH_MASK
    for block in blocks:
        if length >= block.length and (first ^ block.first) >> (width - block.length) == 0:
            return block.name
    return None
