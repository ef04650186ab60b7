"""Rules that never match, match in part only, or change nothing; and networks that are repeated.

Must not know: the system.
"""

from __future__ import annotations

from collections.abc import Iterator

from router.config.model import Config, Place, Range, Rule
from router.config.problems import Problem, Severity
from router.policy.findings.situation import place_of_prefix
from router.policy.findings.wording import plural, rule, rules, some
from router.policy.match.coverage import RuleCoverage
from router.policy.match.shadows import Shadow, ShadowKind, find_shadows
from router.policy.prefixes import FAMILIES, as_written, format_prefix, pack, unpack

Key = int | tuple[int, ...]
"""A packed prefix by itself, or all those of a range."""


def find(config: Config, coverage: RuleCoverage) -> Iterator[Problem]:
    """One finding a rule at most; repeated networks where the rule has none."""
    shadows = find_shadows(config, coverage)
    for shadow in shadows:
        if shadow.by:
            yield _problem(config, shadow)
    yield from _duplicates(config, {shadow.rule_index for shadow in shadows})


def _problem(config: Config, shadow: Shadow) -> Problem:
    subject = config.rules[shadow.rule_index - 1]
    if shadow.kind is ShadowKind.SHADOWED:
        return _shadowed(config, subject, shadow)
    if shadow.kind is ShadowKind.PARTLY_SHADOWED:
        return _partly(config, subject, shadow)
    return _redundant(config, subject, shadow)


def _shadowed(config: Config, subject: Rule, shadow: Shadow) -> Problem:
    others = rules(config, shadow.by)
    verb = plural(len(shadow.by), "decides", "decide")
    return Problem(
        "shadowed-rule",
        Severity.WARNING,
        subject.place,
        f"rule {subject.index} never matches: {others} {verb} all of it before",
        f"move it above {rule(config, shadow.by[0])}, or remove it",
    )


def _partly(config: Config, subject: Rule, shadow: Shadow) -> Problem:
    first = shadow.prefixes[0]
    what = some(
        (as_written(subject, version, pack(at, length)) for version, at, length in shadow.prefixes),
        shadow.count,
    )
    never = plural(shadow.count, "never matches", "never match")
    verb = plural(len(shadow.by), "decides", "decide")
    return Problem(
        "partly-shadowed-rule",
        Severity.WARNING,
        place_of_prefix(subject, *first),
        f"{what} of rule {subject.index} {never}: {rules(config, shadow.by)} {verb} before",
        f"move rule {subject.index} above {rule(config, shadow.by[0])}, or take this out of it",
    )


def _redundant(config: Config, subject: Rule, shadow: Shadow) -> Problem:
    others = rules(config, shadow.by)
    if 0 < shadow.by[0] < subject.index:
        verb = plural(len(shadow.by), "sends", "send")
        why = f"{others} before it {verb} all of it to '{subject.policy}' already"
    else:
        why = f"without it {others} would send its traffic to '{subject.policy}' as well"
    return Problem(
        "redundant-rule",
        Severity.WARNING,
        subject.place,
        f"rule {subject.index} changes nothing: {why}",
        "remove it, or give it another policy",
    )


def _duplicates(config: Config, reported: set[int]) -> Iterator[Problem]:
    """Networks of list files that an earlier rule, or another list of the same, has already.

    Repetitions within the rules file are found when it is read.
    """
    if not any(each.lists for each in config.rules) or len(config.rules) < 2:
        return
    for version in FAMILIES:
        seen: dict[object, dict[Key, int]] = {}
        for subject in config.rules:
            owners = seen.setdefault((subject.protocols, subject.ports), {})
            if owners and subject.index not in reported:
                yield from _repeated(config, subject, version, owners)
            for key in _keys(subject, version):
                owners.setdefault(key, subject.index)


def _keys(subject: Rule, version: int) -> Iterator[Key]:
    yield from subject.cidrs(version)
    yield from (each.packed for each in subject.all_ranges(version))


def _keys_in_file(subject: Rule, version: int) -> set[Key]:
    """Of the rules file itself, without those of lists."""
    own: set[Key] = {each.packed for each in subject.ranges if each.version == version}
    own.update(pack(*each[1:3]) for each in subject.prefixes if each.version == version)
    return own


def _repeated(
    config: Config, subject: Rule, version: int, owners: dict[Key, int]
) -> Iterator[Problem]:
    """One finding for each earlier rule."""
    found: dict[int, list[Key]] = {}
    for key in _keys(subject, version):
        owner = owners.get(key)
        if owner is not None:
            found.setdefault(owner, []).append(key)
    own = _keys_in_file(subject, version)
    for owner, repeated in sorted(found.items()):
        reported = own & _keys_in_file(config.rules[owner - 1], version)
        unreported = [key for key in repeated if key not in reported]
        if unreported:
            yield _repetition(config, subject, version, owner, unreported)


def _text(version: int, key: Key, place: Place) -> str:
    if isinstance(key, int):
        return format_prefix(version, *unpack(key))
    return str(Range(version, key, place))


def _repetition(
    config: Config, subject: Rule, version: int, owner: int, repeated: list[Key]
) -> Problem:
    first = repeated[0] if isinstance(repeated[0], int) else repeated[0][0]
    place: Place = place_of_prefix(subject, version, *unpack(first))
    named = [_text(version, key, place) for key in repeated[:3]]
    verb = plural(len(repeated), "is", "are")
    return Problem(
        "duplicate-cidr",
        Severity.WARNING,
        place,
        f"{some(named, len(repeated))} of rule {subject.index} {verb} already in "
        f"{rule(config, owner)}",
        f"rule {owner} matches first: remove {plural(len(repeated), 'it', 'them')} here or there",
    )
