"""The outcome of a reload, as JSON for programs and as text for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from router.config.model import Config, Policy
from router.engine.reload.compiled import Report
from router.engine.reload.reevaluate import Reevaluated
from router.engine.routes.installed import RouteChanges
from router.policy.findings.wording import plural


class PolicyChanges(NamedTuple):
    """Names, in the order of the files."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


class Outcome(NamedTuple):
    """`done` is False where nothing has changed; `problems` say why, or are warnings.

    flows: what became of them, by protocol.
    """

    done: bool
    problems: Report
    rules: int = 0
    flows: Mapping[str, Reevaluated] = {}
    routes: RouteChanges = RouteChanges()
    policies: PolicyChanges = PolicyChanges()

    @classmethod
    def refused(cls, problems: Report) -> Outcome:
        return cls(False, problems)

    @classmethod
    def applied(
        cls,
        config: Config,
        flows: Mapping[str, Reevaluated],
        routes: RouteChanges,
        policies: PolicyChanges,
    ) -> Outcome:
        return cls(True, Report(), len(config.rules), flows, routes, policies)

    def as_json(self) -> dict[str, Any]:
        """The members that scripts rely on."""
        return {
            "reloaded": self.done,
            "problems": self.problems.text,
            "summary": self.as_text(),
            "rules": self.rules,
            "flows": {
                "kept": {name: each.kept for name, each in self.flows.items()},
                "ended": {name: each.ended for name, each in self.flows.items()},
            },
            "routes": self.routes._asdict(),
            "policies": {name: list(names) for name, names in self.policies._asdict().items()},
        }

    def as_text(self) -> str:
        """One line."""
        if not self.done:
            return "not reloaded: the former rules go on"
        kept, ended = (
            _sum({name: getattr(each, what) for name, each in self.flows.items()})
            for what in ("kept", "ended")
        )
        policies = [
            f"policies {what}: {', '.join(names)}"
            for what, names in self.policies._asdict().items()
            if names
        ]
        return "; ".join(
            [
                f"reloaded: {self.rules} {plural(self.rules, 'rule', 'rules')}",
                f"flows kept: {kept}",
                f"flows ended: {ended}",
                f"routes added: {self.routes.added}",
                f"routes removed: {self.routes.removed}",
                *policies,
            ]
        )


def policy_changes(before: Config, after: Config) -> PolicyChanges:
    """Which policies are new, gone, or no longer what they were; where they stand is no matter."""
    then, now = before.policies, after.policies
    return PolicyChanges(
        tuple(name for name in now if name not in then),
        tuple(name for name in then if name not in now),
        tuple(name for name in now if name in then and _bare(now[name]) != _bare(then[name])),
    )


def _bare(policy: Policy) -> Policy:
    return replace(policy, place=None, interface_place=None, on_down_place=None)


def _sum(numbers: Mapping[str, int]) -> str:
    """`3 (1 icmp, 2 tcp)`, or `0`."""
    several = ", ".join(f"{number} {name}" for name, number in numbers.items() if number)
    total = sum(numbers.values())
    return f"{total} ({several})" if several else "0"
