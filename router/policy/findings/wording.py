"""The words of findings for rules, prefixes and lists of names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from router.config.model import Config
from router.policy.prefixes import format_prefix

NAMED = 3
"""Names in a list; further ones are counted."""


def some(names: Iterable[str], count: int | None = None) -> str:
    """As in `a, b and c`, or `a, b, c and 4 more`; `count` where there are more than `names`."""
    names = list(names)
    shown, total = names[:NAMED], count or len(names)
    if total > len(shown):
        return f"{', '.join(shown)} and {total - len(shown)} more"
    if len(shown) < 2:
        return "".join(shown)
    return f"{', '.join(shown[:-1])} and {shown[-1]}"


def prefixes(found: Sequence[tuple[int, int, int]], count: int | None = None) -> str:
    """Prefixes as (version, first, length) in words."""
    return some((format_prefix(*prefix) for prefix in found), count)


def rule(config: Config, index: int) -> str:
    """`rule 2 (line 9)`, or `the default`."""
    if not index:
        return "the default"
    return f"rule {index} (line {config.rules[index - 1].place.line})"


def rules(config: Config, indices: Iterable[int]) -> str:
    """As in `rule 2 (line 9) and rule 4 (line 11)`."""
    return some(rule(config, index) for index in indices)


def plural(number: int, one: str, many: str) -> str:
    return one if number == 1 else many
