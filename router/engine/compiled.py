"""What a rules file has become: all that a reload needs, or what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from router.config.model import Config
from router.policy.exempt import WayOf, exempt_endpoints
from router.policy.network import Endpoint
from router.policy.plan import Plan, route_mtu
from router.policy.table import RuleSet

Dependencies = tuple[object, ...]
"""What a plan depends on besides the rules: as long as it is equal, so is the plan."""


class Compiled(NamedTuple):
    """Rules to be applied.

    plan, depends_on: what is to be installed, unless what that depends on is different by now.
    """

    config: Config
    rules: RuleSet
    plan: Plan
    depends_on: Dependencies


class Reread(NamedTuple):
    """What a file has turned out to be. `compiled` is None where a problem is an error; its
    configuration is without prefixes, which nobody asks for any more.

    problems: all of them, in text. warnings: what the file has to do with the system at present.
    """

    problems: str
    compiled: Compiled | None = None
    warnings: tuple[str, ...] = ()


def dependencies(
    config: Config, rules: RuleSet, way_of: WayOf, endpoints: Sequence[Endpoint]
) -> Dependencies:
    """Of a plan that is made now; see make_plan."""
    mtus = [route_mtu(config, name, way_of) for name in config.policies]
    return *mtus, exempt_endpoints(config, rules, way_of, endpoints)
