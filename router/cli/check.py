"""`tunrouter check`: all problems at once, then the plan."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from router.cli import exits
from router.cli.report import Report, print_report
from router.cli.rules_file import load_rules, rules_file
from router.config.loader import Loaded, RulesFileUnreadable, collector_paused
from router.config.model import Config
from router.config.problems import Problem, Severity
from router.config.reading import out_of_memory
from router.control.client import NoAnswerError, find_router, request
from router.control.web.installed import lacking_packages
from router.platform import present_network
from router.platform.base.errors import PlatformError
from router.platform.proxies import proxy_faults, with_addresses
from router.policy.findings.all import find_all
from router.policy.findings.situation import Situation
from router.policy.interfaces import interfaces_by_policy, wanted_interfaces
from router.policy.match.coverage import RuleCoverage
from router.policy.match.table import RuleSet
from router.policy.network import Network
from router.policy.proxies import ProxyLack

PATIENCE = 2.0
"""Seconds for the answer of a running router."""


def check(given: Path | None, form: str, *, strict: bool) -> int:
    """Print problems and plan of a rules file, as text, json or github; the exit status."""
    with collector_paused():
        try:
            report = _report(given)
        except RulesFileUnreadable as error:
            print_report(Report(error.problems), form, sys.stdout)
            return exits.BAD_RULES
        print_report(report, form, sys.stdout)
    return _status(report.problems, strict)


def _report(given: Path | None) -> Report:
    """Raises RulesFileUnreadable."""
    loaded = load_rules(rules_file(given))
    if loaded.config is not None:
        loaded = replace(loaded, config=with_addresses(loaded.config))
    config = loaded.config
    user = config.user if config else None
    tun = config.tun.name if config else None
    wanted = wanted_interfaces(config) if config else frozenset()
    try:
        network = present_network(user, sources_of=wanted, tun=tun)
        network = network._replace(lacking_for_web=lacking_packages())
        return inspect(loaded, _with_proxies(network, config) if config else network)
    except MemoryError:
        raise RulesFileUnreadable(out_of_memory()) from None


def _with_proxies(network: Network, config: Config) -> Network:
    """With what is found about the proxies, where there are any."""
    if all(policy.proxy is None for policy in config.policies.values()):
        return network
    faults = proxy_faults(config, interfaces_by_policy(config.policies, network))
    refused = _ipv6_refused(config.tun.name)
    return network._replace(proxy_faults=faults, ipv6_refused=refused)


def _ipv6_refused(tun: str | None) -> frozenset[str]:
    """What a running router knows; nothing where none runs, or this user may not ask it."""
    try:
        answer = request(find_router(tun), {"command": "status"}, PATIENCE)
    except (NoAnswerError, PlatformError):
        return frozenset()
    return frozenset(
        policy["server"]
        for policy in answer["policies"].values()
        if ProxyLack.IPV6 in policy.get("found", ())
    )


def inspect(loaded: Loaded, network: Network) -> Report:
    """The problems of the file and, where it has no error, those with this system."""
    config = loaded.config
    if config is None:
        return Report(loaded.problems, loaded.sources)
    coverage = RuleCoverage(config, config.rules)
    rule_set = RuleSet.for_few_lookups(config, coverage.ranges)
    situation = Situation.of(config, rule_set, network)
    found = find_all(situation, coverage)
    problems = sorted(
        [*loaded.problems, *found.problems], key=lambda problem: _order(problem, config.file)
    )
    return Report(problems, loaded.sources, situation, found.notes)


def _order(problem: Problem, file: str) -> tuple[bool, bool, str, int, int]:
    """By place, the rules file before its lists; what has no place comes last."""
    place = problem.place
    if place is None:
        return True, True, "", 0, 0
    return False, place.file != file, place.file, place.line, place.column


def _status(problems: list[Problem], strict: bool) -> int:
    bad = (Severity.ERROR, Severity.WARNING) if strict else (Severity.ERROR,)
    return exits.FAILED if any(problem.severity in bad for problem in problems) else exits.OK
