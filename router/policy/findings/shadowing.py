"""Rules that never match, match in part only, or change nothing; and networks that stand twice.

Must not know: the system.
"""

from __future__ import annotations

from collections.abc import Iterator

from router.config.model import Config, Place, Range, Rule
from router.config.problems import Problem, Severity
from router.policy.findings.situation import place_of_prefix
from router.policy.findings.wording import plural, rule, rules, some
from router.policy.match.coverage import Deciders
from router.policy.match.shadows import Shadow, ShadowKind, find_shadows
from router.policy.prefixes import as_written, format_prefix, pack, unpack

FAMILIES = (4, 6)

Key = int | tuple[int, ...]
"""A packed prefix that stands by itself, or all those that a range is."""


def find(config: Config, deciders: Deciders) -> Iterator[Problem]:
    """One finding a rule at most; repeated networks where the rule has none."""
    shadows = find_shadows(config, deciders)
    for shadow in shadows:
        if shadow.by:
            yield _problem(config, shadow)
    yield from _duplicates(config, {shadow.rule_index for shadow in shadows})


def _problem(config: Config, shadow: Shadow) -> Problem:
    judged = config.rules[shadow.rule_index - 1]
    if shadow.kind is ShadowKind.SHADOWED:
        return _shadowed(config, judged, shadow)
    if shadow.kind is ShadowKind.PARTLY_SHADOWED:
        return _partly(config, judged, shadow)
    return _redundant(config, judged, shadow)


def _shadowed(config: Config, judged: Rule, shadow: Shadow) -> Problem:
    takers = rules(config, shadow.by)
    verb = plural(len(shadow.by), "decides", "decide")
    return Problem(
        "shadowed-rule",
        Severity.WARNING,
        judged.place,
        f"rule {judged.index} never matches: {takers} {verb} all of it before",
        f"move it above {rule(config, shadow.by[0])}, or remove it",
    )


def _partly(config: Config, judged: Rule, shadow: Shadow) -> Problem:
    first = shadow.prefixes[0]
    what = some(
        (as_written(judged, version, pack(at, length)) for version, at, length in shadow.prefixes),
        shadow.count,
    )
    never = plural(shadow.count, "never matches", "never match")
    verb = plural(len(shadow.by), "decides", "decide")
    return Problem(
        "partly-shadowed-rule",
        Severity.WARNING,
        place_of_prefix(judged, *first),
        f"{what} of rule {judged.index} {never}: {rules(config, shadow.by)} {verb} before",
        f"move rule {judged.index} above {rule(config, shadow.by[0])}, or take this out of it",
    )


def _redundant(config: Config, judged: Rule, shadow: Shadow) -> Problem:
    others = rules(config, shadow.by)
    if 0 < shadow.by[0] < judged.index:
        verb = plural(len(shadow.by), "sends", "send")
        why = f"{others} before it {verb} all of it to '{judged.policy}' already"
    else:
        why = f"without it {others} would send its traffic to '{judged.policy}' as well"
    return Problem(
        "redundant-rule",
        Severity.WARNING,
        judged.place,
        f"rule {judged.index} changes nothing: {why}",
        "remove it, or give it another policy",
    )


def _duplicates(config: Config, told: set[int]) -> Iterator[Problem]:
    """Networks of list files that an earlier rule, or another list of the same, has already.

    Those that stand in the rules file twice are found when it is read.
    """
    if not any(each.lists for each in config.rules) or len(config.rules) < 2:
        return
    for version in FAMILIES:
        seen: dict[object, dict[Key, int]] = {}
        for judged in config.rules:
            owners = seen.setdefault((judged.protocols, judged.ports), {})
            if owners and judged.index not in told:
                yield from _repeated(config, judged, version, owners)
            for key in _keys(judged, version):
                owners.setdefault(key, judged.index)


def _keys(judged: Rule, version: int) -> Iterator[Key]:
    yield from judged.cidrs(version)
    yield from (each.packed for each in judged.all_ranges(version))


def _keys_in_file(judged: Rule, version: int) -> set[Key]:
    """Of the rules file itself, without those of lists."""
    own: set[Key] = {each.packed for each in judged.ranges if each.version == version}
    own.update(pack(*each[1:3]) for each in judged.prefixes if each.version == version)
    return own


def _repeated(
    config: Config, judged: Rule, version: int, owners: dict[Key, int]
) -> Iterator[Problem]:
    """One finding for each earlier rule."""
    found: dict[int, list[Key]] = {}
    for key in _keys(judged, version):
        owner = owners.get(key)
        if owner is not None:
            found.setdefault(owner, []).append(key)
    own = _keys_in_file(judged, version)
    for owner, repeated in sorted(found.items()):
        told = own & _keys_in_file(config.rules[owner - 1], version)
        untold = [key for key in repeated if key not in told]
        if untold:
            yield _repetition(config, judged, version, owner, untold)


def _text(version: int, key: Key, place: Place) -> str:
    if isinstance(key, int):
        return format_prefix(version, *unpack(key))
    return str(Range(version, key, place))


def _repetition(
    config: Config, judged: Rule, version: int, owner: int, repeated: list[Key]
) -> Problem:
    first = repeated[0] if isinstance(repeated[0], int) else repeated[0][0]
    place: Place = place_of_prefix(judged, version, *unpack(first))
    named = [_text(version, key, place) for key in repeated[:3]]
    verb = plural(len(repeated), "is", "are")
    return Problem(
        "duplicate-cidr",
        Severity.WARNING,
        place,
        f"{some(named, len(repeated))} of rule {judged.index} {verb} already in "
        f"{rule(config, owner)}",
        f"rule {owner} matches first: remove {plural(len(repeated), 'it', 'them')} here or there",
    )
