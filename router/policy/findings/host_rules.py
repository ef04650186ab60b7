"""The host's own rules: those that drop the answers to what the rules forward, and those for which
packets are relayed.

The route to a captured host is the TUN's, so a strict check of the reverse path drops its answers,
which arrive by the interface of their policy.
"""

from __future__ import annotations

from collections.abc import Iterator

from router.config.problems import Problem, Severity
from router.policy.findings.situation import Situation
from router.policy.host_rules.model import (
    MARK_REMEDY,
    OWNER_REMEDY,
    mark_words,
    owner_words,
    reverse_path_remedy,
)

WORDS = {4: "IPv4", 6: "IPv6"}


def find(situation: Situation) -> Iterator[Problem]:
    """A warning for each family that is captured and forwarded, and whose answers are dropped, and
    for each interface where rules do not see the owner or a mark."""
    rules = situation.network.host_rules
    for version, clause in sorted(rules.path_checks.items()):
        if any(route.version == version for route in situation.plan.routes):
            yield _warning(
                "reverse-path-check",
                f"{clause}: so it drops the {WORDS[version]} answers from networks of the rules",
                reverse_path_remedy(version),
            )
    for interface, clause in sorted(rules.owner_checks.items()):
        yield _warning("owner-check", owner_words(interface, clause), OWNER_REMEDY)
    for interface, clause in sorted(rules.mark_checks.items()):
        yield _warning("mark-check", mark_words(interface, clause), MARK_REMEDY)


def _warning(code: str, message: str, remedy: str) -> Problem:
    return Problem(code, Severity.WARNING, None, message, remedy)


def notes(situation: Situation) -> list[str]:
    """For each interface whose packets are relayed, why."""
    return [
        f"packets of this machine by {name} are relayed: {clause}"
        for name, clause in sorted(situation.network.host_rules.obstacles.items())
    ]
