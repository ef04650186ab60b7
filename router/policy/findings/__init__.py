"""Problems of valid rules: with each other, and with this network.

    shadowing   rules that never match or change nothing; the same network in several places
    special     addresses whose packets never reach a TUN
    tun         the TUN's own address and name
    outbounds   interfaces that are missing, down, or lack an address or a route
    proxies     proxies that cannot be reached; what becomes of ICMP
    loops       captured endpoints of VPNs, default gateways and DNS servers
    account     the user that the router runs as
    web         what the web process needs
    system      conflicts between the system's routes and the planned ones
    host_rules  the host's packet filter, where it drops answers or makes packets be relayed

Always true: every problem is a warning, apart from what can't work (`tun`, `account`); a problem
with the system's routes is reported once for each interface.
"""

from __future__ import annotations

from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Findings:
    """Problems in the order of the modules above; notes are sentences without a full stop."""

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
