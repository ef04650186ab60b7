"""Rules that never match, match in part only, or change nothing; and networks that stand twice.

Must not know: the system.
"""

from __future__ import annotations

from collections.abc import Iterator

from router.config.model import LENGTH_BITS, Config, Place, Rule
from router.config.problems import Problem, Severity
from router.policy.findings.situation import place_of_prefix
from router.policy.findings.wording import plural, prefixes, rule, rules
from router.policy.match.coverage import Deciders
from router.policy.match.shadows import Shadow, ShadowKind, find_shadows
from router.policy.prefixes import unpack

FAMILIES = (4, 6)


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
    what = prefixes(shadow.prefixes, shadow.count)
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
        seen: dict[object, dict[int, int]] = {}
        for judged in config.rules:
            owners = seen.setdefault((judged.protocols, judged.ports), {})
            if owners and judged.index not in told:
                yield from _repeated(config, judged, version, owners)
            for packed in judged.packed(version):
                owners.setdefault(packed, judged.index)


def _repeated(
    config: Config, judged: Rule, version: int, owners: dict[int, int]
) -> Iterator[Problem]:
    """One finding for each earlier rule."""
    found: dict[int, list[int]] = {}
    for packed in judged.packed(version):
        owner = owners.get(packed)
        if owner is not None:
            found.setdefault(owner, []).append(packed)
    own = {
        prefix.first << LENGTH_BITS | prefix.length
        for prefix in judged.prefixes
        if prefix.version == version
    }
    for owner, repeated in sorted(found.items()):
        in_file = {
            prefix.first << LENGTH_BITS | prefix.length
            for prefix in config.rules[owner - 1].prefixes
            if prefix.version == version
        }
        untold = [packed for packed in repeated if packed not in own or packed not in in_file]
        if untold:
            yield _repetition(config, judged, version, owner, untold)


def _repetition(
    config: Config, judged: Rule, version: int, owner: int, repeated: list[int]
) -> Problem:
    named = [(version, *unpack(packed)) for packed in repeated[:3]]
    place: Place = place_of_prefix(judged, *named[0])
    verb = plural(len(repeated), "is", "are")
    return Problem(
        "duplicate-cidr",
        Severity.WARNING,
        place,
        f"{prefixes(named, len(repeated))} of rule {judged.index} {verb} already in "
        f"{rule(config, owner)}",
        f"rule {owner} matches first: remove {plural(len(repeated), 'it', 'them')} here or there",
    )
