"""Where the system's own routes and ours meet: which one a packet would follow.

A more specific route of somebody else wins against ours; for the very same prefix ours wins; a
route in a table that is asked before the main one wins against all of ours. Much of that is normal
and meant: then it is a note beside the plan, not a warning.

Always true: one warning and one note for each interface and outcome.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice

from router.config.model import Place
from router.config.problems import Problem, Severity
from router.policy.findings.situation import Situation, captures, covering_place
from router.policy.findings.wording import plural, prefixes, some
from router.policy.network import TABLE_MAIN, RouteKind, SystemRoute
from router.policy.routes.capture import Route

SEARCHED = 64
"""Of our routes inside one of the system's, those that are looked at to say which policies."""

EVERYTHING = 0
"""0.0.0.0/0 or ::/0, packed."""

LOOPBACK = "lo"
LINK_LOCAL, LINK_LOCAL_SHIFT = 0xFE80 >> 6, 118
"""fe80::/10: every interface has its own."""

IN_NO_TUN = (RouteKind.LOCAL, RouteKind.BROADCAST, RouteKind.MULTICAST, RouteKind.THROW)


@dataclass(slots=True)
class Meeting:
    """Routes of one interface that win against ours, or that ours win against.

    `expected`: it is normal use. `place` is that of the first rule concerned.
    """

    interface: str
    they_win: bool
    expected: bool
    place: Place | None
    policies: list[str]
    routes: list[SystemRoute] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Meetings:
    """All of them: what is probably not meant as problems, what is normal as notes."""

    problems: list[Problem]
    notes: list[str]
    """A sentence each, without a full stop."""


def find(situation: Situation) -> Meetings:
    """All meetings, grouped by interface and outcome."""
    found: dict[tuple[str, bool, bool], Meeting] = {}
    for route in situation.network.routes:
        if _is_apart(situation, route):
            continue
        inside = _inside(situation, route)
        touched = inside or _around(situation, route)
        outcome = _outcome(situation, route, inside, touched)
        if outcome is not None:
            _note_down(situation, found, route, touched[0], *outcome)
    return Meetings(
        [_problem(each) for each in found.values() if not each.expected],
        [_note(each) for each in found.values() if each.expected],
    )


def _is_apart(situation: Situation, route: SystemRoute) -> bool:
    """Routes that have nothing to do with other networks, and our own."""
    if route.ours or route.kind in IN_NO_TUN or route.interface in situation.network.own_tuns:
        return True
    link_local = route.version == 6 and route.first >> LINK_LOCAL_SHIFT == LINK_LOCAL
    return link_local or route.interface == LOOPBACK


def _inside(situation: Situation, route: SystemRoute) -> list[Route]:
    """Our routes for the same prefix, which come first, and inside it."""
    return list(islice(situation.planned.inside(*route[:3]), SEARCHED))


def _around(situation: Situation, route: SystemRoute) -> list[Route]:
    """The part of a shorter route of ours that is the same prefix, if there is one."""
    around = situation.planned.match(route.version, route.first, below=route.length)
    return [Route(*route[:3], around.mtu)] if around else []


def _outcome(
    situation: Situation, route: SystemRoute, inside: list[Route], touched: list[Route]
) -> tuple[bool, bool] | None:
    """(whether the route wins against ours, whether that is normal), if they meet at all."""
    first_asked = route.table in situation.kernel.before_main(route.version)
    if not touched or not (first_asked or route.table == TABLE_MAIN):
        return None
    if first_asked or not inside:
        expected = (
            _is_everything(situation, touched[0])
            or _is_connected(situation, route)
            or _same_way(situation, route, touched)
        )
        return True, expected
    if inside[0][:3] == route[:3]:
        return False, _same_way(situation, route, inside)
    # That ours are more specific than a route of the system is what routes are for.
    return (False, True) if route.length else None


def _note_down(
    situation: Situation,
    found: dict[tuple[str, bool, bool], Meeting],
    route: SystemRoute,
    ours: Route,
    they_win: bool,
    expected: bool,
) -> None:
    index = _ruling(situation, ours)
    interface = route.interface or route.kind.value
    meeting = found.get((interface, they_win, expected))
    if meeting is None:
        place = covering_place(situation.config, index, ours.version, ours.first)
        meeting = Meeting(interface, they_win, expected, place, [])
        found[interface, they_win, expected] = meeting
    meeting.routes.append(route)
    policy = situation.policy_of(index)
    if policy not in meeting.policies:
        meeting.policies.append(policy)


def _ruling(situation: Situation, route: Route) -> int:
    """The rule that captures a route of ours; 0: the default."""
    chain = situation.rule_set.chain(route.version, route.first)
    return next((index for index in chain if captures(situation.policy_of(index))), 0)


def _is_everything(situation: Situation, route: Route) -> bool:
    """Whether it is captured along with all addresses, not by name."""
    index = _ruling(situation, route)
    return not index or EVERYTHING in situation.config.rules[index - 1].packed(route.version)


def _is_connected(situation: Situation, route: SystemRoute) -> bool:
    """Whether a route is that to the network which the interface itself is in."""
    interface = situation.network.interfaces.get(route.interface)
    return interface is not None and any(
        address.version == route.version
        and int(address.network.network_address) == route.first
        and address.network.prefixlen == route.length
        for address in interface.addresses
    )


def _same_way(situation: Situation, route: SystemRoute, touched: list[Route]) -> bool:
    """Whether our packets would leave by the same interface anyway."""
    return all(
        situation.leaves_by(situation.policy_of(_ruling(situation, each)), route.interface)
        for each in touched
    )


def _problem(meeting: Meeting) -> Problem:
    return _lost(meeting) if meeting.they_win else _overridden(meeting)


def _lost(meeting: Meeting) -> Problem:
    count = len(meeting.routes)
    it = plural(count, "it", "them")
    return Problem(
        "route-wins",
        Severity.WARNING,
        meeting.place,
        f"{_routes(meeting)} of {meeting.interface} {plural(count, 'wins', 'win')} against the "
        f"route to the TUN: {_policies(meeting)} will not get {it}",
        f"if that is not meant, end the program that has added {it}",
    )


def _overridden(meeting: Meeting) -> Problem:
    count = len(meeting.routes)
    them = plural(count, "it", "them")
    return Problem(
        "route-overridden",
        Severity.WARNING,
        meeting.place,
        f"{_routes(meeting)} of {meeting.interface} {plural(count, 'is', 'are')} overridden: "
        f"what is for {them} goes to {_policies(meeting)}",
        f"if that is not meant, send {them} to 'bypass'",
    )


def _note(meeting: Meeting) -> str:
    count = len(meeting.routes)
    if meeting.they_win:
        stay = plural(count, "stays", "stay")
        return f"{_routes(meeting)} {stay} with {meeting.interface}, whose route is more specific"
    goes = plural(count, "is taken over", "are taken over")
    return (
        f"{_routes(meeting)} of {meeting.interface} {goes}, all or in part, by {_policies(meeting)}"
    )


def _routes(meeting: Meeting) -> str:
    return prefixes([route[:3] for route in meeting.routes])


def _policies(meeting: Meeting) -> str:
    return some(f"'{name}'" for name in meeting.policies)
