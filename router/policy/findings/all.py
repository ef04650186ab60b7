"""All findings about a rules file and the present network, as `check` reports them.

A run needs a few of them alone, and imports their modules.
"""

from __future__ import annotations

from typing import NamedTuple

from router.config.problems import Problem
from router.policy.findings import (
    account,
    host_rules,
    loops,
    outbounds,
    proxies,
    shadowing,
    special,
    system,
    tun,
    web,
)
from router.policy.findings.situation import Situation
from router.policy.match.coverage import RuleCoverage


class Findings(NamedTuple):
    """Problems in the order of `router.policy.findings`; notes: sentences without a full stop."""

    problems: list[Problem]
    notes: list[str]


def find_all(situation: Situation, coverage: RuleCoverage) -> Findings:
    """All findings; where the network is not known, those about the rules alone."""
    config = situation.config
    problems = [*shadowing.find(config, coverage), *special.find(config), *tun.find(situation)]
    problems += [*account.find(situation), *web.find(situation)]
    if not situation.network.readable:
        return Findings(problems, [])
    conflicts = system.find(situation)
    problems += [*outbounds.find(situation), *proxies.find(situation), *loops.find(situation)]
    problems += [*conflicts.problems, *host_rules.find(situation)]
    notes = [*conflicts.notes, *loops.notes(situation), *host_rules.notes(situation)]
    notes += [*proxies.notes(situation), *situation.network.limits]
    return Findings(problems, notes)
