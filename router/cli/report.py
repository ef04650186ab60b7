"""The findings of `check` as text, as JSON, as annotations for GitHub.

Always true: the same findings give the same bytes, apart from colours at a terminal.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, TextIO

from router.cli.rules_file import print_problems
from router.config.problems import Problem, Severity
from router.config.sources import Sources
from router.policy.findings.situation import Situation
from router.policy.match.traffic import TrafficClasses
from router.policy.prefixes import HOST_MASKS, format_address, format_prefix
from router.policy.routes.capture import outcomes
from router.policy.routes.route import Route

ROUTES_SHOWN: Final = 20
CHAINS_SEARCHED: Final = 64
"""Ranges of one route that are examined to name its policies."""


@dataclass(frozen=True, slots=True)
class Report:
    """`situation` is None where the rules have errors: then there is no plan."""

    problems: list[Problem]
    sources: Sources = field(default_factory=Sources)
    situation: Situation | None = None
    notes: list[str] = field(default_factory=list)


def print_report(report: Report, form: str, stream: TextIO) -> None:
    """`form` is text, json or github."""
    if form == "json":
        from json import dumps  # noqa: PLC0415 - only for JSON

        print(dumps(as_json(report), indent=1), file=stream)
    elif form == "github":
        for problem in report.problems:
            print(problem.as_github(), file=stream)
    else:
        print_problems(report.problems, report.sources, stream)
        for line in _rest_as_text(report):
            print(line, file=stream)


def as_json(report: Report) -> dict[str, Any]:
    """The members that scripts rely on."""
    problems = [problem.as_json() for problem in report.problems]
    return {"problems": problems, "plan": _plan_as_json(report)}


def _plan_as_json(report: Report) -> dict[str, Any] | None:
    if report.situation is None:
        return None
    plan = report.situation.plan
    device = plan.tun.name
    return {
        "tun": {
            "name": device,
            "addresses": [str(address) for address in plan.tun.addresses],
            "mtu": plan.tun.mtu,
        },
        "routes": [
            {"prefix": format_prefix(*route[:3]), "device": device, "mtu": route.mtu}
            | ({"source": source} if (source := _source(route)) else {})
            for route in plan.routes
        ],
        "rules": plan.rules,
        "prefixes": plan.prefixes,
        "notes": report.notes,
        "unread": list(report.situation.network.unread),
    }


def _rest_as_text(report: Report) -> Iterator[str]:
    """The count of problems, the plan, and the notes."""
    if report.problems:
        yield ", ".join(_counted(report.problems))
    if report.situation is None:
        return
    if report.problems:
        yield ""
    yield from _plan_as_text(report.situation)
    for title, lines in (
        ("worth knowing:", report.notes),
        ("could not be read:", report.situation.network.unread),
    ):
        if lines:
            yield title
            yield from (f"  {line}" for line in lines)


def _counted(problems: list[Problem]) -> Iterator[str]:
    errors = sum(problem.severity is Severity.ERROR for problem in problems)
    for number, name in ((errors, "error"), (len(problems) - errors, "warning")):
        if number:
            yield _several(number, name)


def _several(number: int, name: str) -> str:
    if number == 1:
        return f"1 {name}"
    return f"{number:,} {name}{'es' if name.endswith('x') else 's'}"


def _plan_as_text(situation: Situation) -> Iterator[str]:
    plan = situation.plan
    addresses = ", ".join(map(str, plan.tun.addresses))
    name = plan.tun.name or "a TUN device that the system names"
    yield f"plan: {name}, {addresses}, MTU {plan.tun.mtu}"
    routes, prefixes = _several(len(plan.routes), "route"), _several(plan.prefixes, "prefix")
    yield f"{routes} from {prefixes} in {_several(plan.rules, 'rule')}"
    shown = plan.routes[:ROUTES_SHOWN]
    texts = [format_prefix(*route[:3]) for route in shown]
    width = max(map(len, texts), default=0)
    for route, prefix in zip(shown, texts, strict=True):
        policies = ", ".join(_policies(situation, route))
        source = _source(route)
        bound = f" from {source}" if source else ""
        yield f"  {prefix:{width}}  MTU {route.mtu:<5} {policies}{bound}"
    if len(plan.routes) > len(shown):
        yield f"  and {len(plan.routes) - len(shown):,} more; --format json has all of them"


def _source(route: Route) -> str | None:
    """The address that programs are bound to by a route, where it has one."""
    return None if route.source is None else format_address(route.version, route.source)


def _policies(situation: Situation, route: Route) -> list[str]:
    """The policies that traffic by a route can get, apart from those of longer routes in it."""
    table = situation.rule_set.table(route.version)
    address, last = route.first, route.first | HOST_MASKS[route.version][route.length]
    names: dict[str, None] = {}
    for first, chain_id in table.ranges.overlapping(address, last, CHAINS_SEARCHED):
        if situation.planned.match(route.version, max(first, address)) != route:
            continue
        chain = table.ranges.chains[chain_id]
        traffic = TrafficClasses(situation.config.rules[index - 1] for index in chain if index)
        names.update(dict.fromkeys(outcomes(situation.config, chain, traffic)))
    return list(names)
