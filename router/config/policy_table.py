"""The policies of a file by their names, as the sections that name them see them.

Always true: a name that is not known is reported once, where it stands, with the nearest known one.

Must not know: how a policy is written.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from router.config.document import Node, Scalar
from router.config.fields import Findings, as_text, listed
from router.config.model import Policy
from router.config.problems import quoted
from router.config.schema import BUILT_IN_POLICIES
from router.config.spelling import nearest

COMPARISONS = 100_000


@dataclass(slots=True)
class PolicyTable:
    """The policies that could be read, and every name that the file tries to define.

    `readable` is False where the section as a whole can't be read, so that nothing is known
    about names. `used` are the names that rules and the default refer to.
    """

    policies: dict[str, Policy] = field(default_factory=dict)
    names: dict[str, Scalar] = field(default_factory=dict)
    readable: bool = True
    used: set[str] = field(default_factory=set)
    _nearest: dict[str, str | None] = field(default_factory=dict)

    def refer(self, findings: Findings, node: Node, key: str) -> str | None:
        """The policy that a key names. Unknown names are reported; None where it is no name."""
        name = as_text(findings, node, f"'{key}'", f"{key}: reject")
        if name is None or name in self.names or name in BUILT_IN_POLICIES or not self.readable:
            return name
        close = self.suggestion(name)
        known = listed([*self.names, *BUILT_IN_POLICIES][:12])
        findings.error(
            "unknown-policy",
            node,
            f"no policy is called {quoted(name)}",
            f"did you mean '{close}'?" if close else f"define it, or name one of {known}",
        )
        return name

    def use(self, name: str) -> None:
        """Count a policy as used. Of an unknown name the nearest known one counts."""
        self.used.add(self.meant(name))

    def meant(self, name: str) -> str:
        """The name itself where it is known, or else the nearest known one."""
        return name if name in self.names else self.suggestion(name) or name

    def suggestion(self, name: str) -> str | None:
        """The known name nearest to an unknown one. Comparing takes time, so that a file with
        thousands of policies and of mistakes gets suggestions for the first of them only."""
        if name not in self._nearest:
            if len(self._nearest) * len(self.names) > COMPARISONS:
                return None
            self._nearest[name] = nearest(name, [*BUILT_IN_POLICIES, *self.names])
        return self._nearest[name]
