"""Conflicts between the system's routes and the planned ones: which route a packet would follow.

A more specific route of the system wins against a planned one; for the same prefix the planned one
wins; a route in a table that is looked up before the main one wins against all planned ones. Much
of that is normal use: then it is a note beside the plan, not a warning.

Always true: one warning or note for each interface and outcome.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice

from router.config.model import Place
from router.config.problems import Problem, Severity
from router.policy.findings.situation import Situation, captures, covering_place
from router.policy.findings.wording import plural, prefixes, some
from router.policy.network import LOOPBACKS, TABLE_MAIN, RouteKind, SystemRoute
from router.policy.routes.route import Route

SEARCHED = 64
"""Planned routes inside one of the system's that are examined to name the policies."""

EVERYTHING = 0
"""0.0.0.0/0 or ::/0, packed."""

LINK_LOCAL, LINK_LOCAL_SHIFT = 0xFE80 >> 6, 118
"""fe80::/10: every interface has its own."""

IN_NO_TUN = (RouteKind.LOCAL, RouteKind.BROADCAST, RouteKind.MULTICAST, RouteKind.THROW)


@dataclass(slots=True)
class RouteConflict:
    """Routes of one interface that win against planned ones, or lose against them.

    `expected`: it is normal use. `place` is that of the first rule concerned.
    """

    interface: str
    system_wins: bool
    expected: bool
    place: Place | None
    policies: list[str]
    routes: list[SystemRoute] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class RouteConflicts:
    """All of them: the unexpected ones as problems, the expected ones as notes."""

    problems: list[Problem]
    notes: list[str]
    """A sentence each, without a full stop."""


def find(situation: Situation) -> RouteConflicts:
    """All route conflicts, grouped by interface and outcome."""
    found: dict[tuple[str, bool, bool], RouteConflict] = {}
    for route in situation.network.routes:
        if _is_apart(situation, route):
            continue
        inside = _inside(situation, route)
        touched = inside or _around(situation, route)
        outcome = _outcome(situation, route, inside, touched)
        if outcome is not None:
            _add(situation, found, route, touched[0], *outcome)
    return RouteConflicts(
        [_problem(each) for each in found.values() if not each.expected],
        [_note(each) for each in found.values() if each.expected],
    )


def _is_apart(situation: Situation, route: SystemRoute) -> bool:
    """Whether a route leads to no other network, or is of a router of this program."""
    if route.ours or route.kind in IN_NO_TUN or route.interface in situation.network.own_tuns:
        return True
    link_local = route.version == 6 and route.first >> LINK_LOCAL_SHIFT == LINK_LOCAL
    return link_local or route.interface in LOOPBACKS


def _inside(situation: Situation, route: SystemRoute) -> list[Route]:
    """The planned routes for the same prefix, which come first, and inside it."""
    return list(islice(situation.planned.inside(*route[:3]), SEARCHED))


def _around(situation: Situation, route: SystemRoute) -> list[Route]:
    """The same prefix with the label of a shorter planned route around it, if there is one."""
    around = situation.planned.match(route.version, route.first, below=route.length)
    return [Route(*route[:3], around.label)] if around else []


def _outcome(
    situation: Situation, route: SystemRoute, inside: list[Route], touched: list[Route]
) -> tuple[bool, bool] | None:
    """(whether the route wins against planned ones, whether that is expected); None without a
    conflict."""
    before_main = route.table in situation.fib.before_main(route.version)
    if not touched or not (before_main or route.table == TABLE_MAIN):
        return None
    if before_main or not inside:
        expected = (
            _is_everything(situation, touched[0])
            or _is_connected(situation, route)
            or _same_interface(situation, route, touched)
        )
        return True, expected
    if inside[0][:3] == route[:3]:
        return False, _same_interface(situation, route, inside)
    # Planned routes that are more specific than the system's are no conflict with its default.
    return (False, True) if route.length else None


def _add(
    situation: Situation,
    found: dict[tuple[str, bool, bool], RouteConflict],
    route: SystemRoute,
    ours: Route,
    system_wins: bool,
    expected: bool,
) -> None:
    index = _capturing_rule(situation, ours)
    interface = route.interface or route.kind.value
    conflict = found.get((interface, system_wins, expected))
    if conflict is None:
        place = covering_place(situation.config, index, ours.version, ours.first)
        conflict = RouteConflict(interface, system_wins, expected, place, [])
        found[interface, system_wins, expected] = conflict
    conflict.routes.append(route)
    policy = situation.policy_of(index)
    if policy not in conflict.policies:
        conflict.policies.append(policy)


def _capturing_rule(situation: Situation, route: Route) -> int:
    """The rule that captures a planned route; 0: the default."""
    chain = situation.rule_set.chain(route.version, route.first)
    return next((index for index in chain if captures(situation.policy_of(index))), 0)


def _is_everything(situation: Situation, route: Route) -> bool:
    """Whether the rule that captures the route is one for all addresses."""
    index = _capturing_rule(situation, route)
    return not index or EVERYTHING in situation.config.rules[index - 1].packed(route.version)


def _is_connected(situation: Situation, route: SystemRoute) -> bool:
    """Whether a route is the connected route of its interface."""
    interface = situation.network.interfaces.get(route.interface)
    return interface is not None and any(
        address.version == route.version
        and int(address.network.network_address) == route.first
        and address.network.prefixlen == route.length
        for address in interface.addresses
    )


def _same_interface(situation: Situation, route: SystemRoute, touched: list[Route]) -> bool:
    """Whether forwarded packets would leave by the same interface anyway."""
    return all(
        situation.leaves_by(situation.policy_of(_capturing_rule(situation, each)), route.interface)
        for each in touched
    )


def _problem(conflict: RouteConflict) -> Problem:
    return _lost(conflict) if conflict.system_wins else _overridden(conflict)


def _lost(conflict: RouteConflict) -> Problem:
    count = len(conflict.routes)
    it = plural(count, "it", "them")
    return Problem(
        "route-wins",
        Severity.WARNING,
        conflict.place,
        f"{_routes(conflict)} of {conflict.interface} {plural(count, 'wins', 'win')} against the "
        f"route to the TUN: {_policies(conflict)} will not carry {it}",
        f"if that is not meant, end the program that has added {it}",
    )


def _overridden(conflict: RouteConflict) -> Problem:
    count = len(conflict.routes)
    them = plural(count, "it", "them")
    return Problem(
        "route-overridden",
        Severity.WARNING,
        conflict.place,
        f"{_routes(conflict)} of {conflict.interface} {plural(count, 'is', 'are')} overridden: "
        f"traffic to {them} goes to {_policies(conflict)}",
        f"if that is not meant, send {them} to 'bypass'",
    )


def _note(conflict: RouteConflict) -> str:
    count = len(conflict.routes)
    if conflict.system_wins:
        stay = plural(count, "stays", "stay")
        return f"{_routes(conflict)} {stay} with {conflict.interface}, whose route is more specific"
    routes = f"{_routes(conflict)} of {conflict.interface}"
    taken_over = plural(count, "is taken over", "are taken over")
    return f"{routes} {taken_over}, all or in part, by {_policies(conflict)}"


def _routes(conflict: RouteConflict) -> str:
    return prefixes([route[:3] for route in conflict.routes])


def _policies(conflict: RouteConflict) -> str:
    return some(f"'{name}'" for name in conflict.policies)
