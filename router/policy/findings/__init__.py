"""What is wrong with rules that are good by themselves: with each other, and on this network.

    shadowing   rules that never match or change nothing; the same network in several places
    special     addresses that no TUN ever sees
    tun         the TUN's own address and name
    ways_out    interfaces that are missing, down, or lack an address or a route
    loops       what keeps the ways out alive and would be captured: endpoints, gateways, DNS
    account     the user that the router runs as
    system      the system's own routes that ours meet

Always true: everything found is a warning, but for what can't work (`tun`, `account`); findings
about the system are many only where the system has many interfaces: they are told once for each.
"""

from __future__ import annotations

from dataclasses import dataclass

from router.config.problems import Problem
from router.policy.findings import account, loops, outbounds, shadowing, special, system, tun
from router.policy.findings.situation import Situation
from router.policy.match.coverage import Deciders


@dataclass(frozen=True, slots=True)
class Findings:
    """Problems topic by topic; notes are sentences without a full stop."""

    problems: list[Problem]
    notes: list[str]


def find_all(situation: Situation, deciders: Deciders) -> Findings:
    """Everything; where the network is not known, what the rules alone tell."""
    config = situation.config
    problems = [*shadowing.find(config, deciders), *special.find(config), *tun.find(situation)]
    problems += account.find(situation)
    if not situation.network.readable:
        return Findings(problems, [])
    meetings = system.find(situation)
    problems += [*outbounds.find(situation), *loops.find(situation), *meetings.problems]
    return Findings(problems, [*meetings.notes, *loops.notes(situation)])
