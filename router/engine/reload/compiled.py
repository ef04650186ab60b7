"""What a rules file has become: all that a reload needs, or what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from router.config.model import Config
from router.config.problems import LineSource, Problem, Severity
from router.policy.interfaces import FactsOf
from router.policy.match.table import RuleSet
from router.policy.network import Endpoint, ProxyServer
from router.policy.prefixes import FAMILIES
from router.policy.routes.answered import AnsweredPrefix
from router.policy.routes.exempt import exempt_endpoints, exempt_proxies
from router.policy.routes.plan import Plan, applying, route_mtu, route_sources

PATIENCE: Final = 120.0
"""Seconds that reading a file may take; a million prefixes need a few."""

Dependencies = tuple[object, ...]
"""What a plan depends on besides the rules: as long as it is equal, so is the plan."""


class Compiled(NamedTuple):
    """Rules to be applied.

    plan, depends_on: what is to be installed, unless what that depends on is different by now.
    answered: where answers come from, see router.policy.routes.answered.
    """

    config: Config
    rules: RuleSet
    plan: Plan
    depends_on: Dependencies
    answered: Sequence[AnsweredPrefix]


class Line(NamedTuple):
    """A problem for a log. excerpt: the source line and carets under the value, or empty."""

    text: str
    severity: Severity = Severity.ERROR
    excerpt: str = ""


class Report(NamedTuple):
    """What is wrong. text: as `check` prints it. lines: one for each problem, for a log."""

    text: str = ""
    lines: tuple[Line, ...] = ()

    @classmethod
    def of(cls, problems: Sequence[Problem], sources: LineSource) -> Report:
        return cls(
            "\n".join(problem.as_text(sources) for problem in problems),
            tuple(
                Line(problem.as_line(), problem.severity, "\n".join(problem.excerpt(sources)))
                for problem in problems
            ),
        )

    @classmethod
    def saying(cls, *sentences: str, severity: Severity = Severity.ERROR) -> Report:
        lines = tuple(Line(sentence, severity) for sentence in sentences)
        return cls("\n".join(sentences), lines)

    def __bool__(self) -> bool:
        return bool(self.lines)

    def and_also(self, other: Report) -> Report:
        """Both."""
        return Report("\n".join(filter(None, (self.text, other.text))), self.lines + other.lines)


class Reread(NamedTuple):
    """What a file has turned out to be. `compiled` is None where a problem is an error; its
    configuration is without prefixes, which nothing needs any more.

    problems: all of them, and what the file has to do with the system at present.
    """

    problems: Report
    compiled: Compiled | None = None


def dependencies(
    config: Config,
    rules: RuleSet,
    facts_of: FactsOf,
    endpoints: Sequence[Endpoint],
    servers: Sequence[ProxyServer],
) -> Dependencies:
    """Of a plan that is made now; see make_plan."""
    labels = (
        (
            route_mtu(config, name, facts_of),
            applying(config, name, facts_of),
            *(tuple(route_sources(config, version, [name], facts_of)) for version in FAMILIES),
        )
        for name in config.policies
    )
    exempt = exempt_endpoints(config, rules, facts_of, endpoints)
    return *labels, exempt, exempt_proxies(config, rules, servers)
