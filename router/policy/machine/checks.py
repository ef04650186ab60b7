"""All checks, in the order of the report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from router.policy.machine import darwin, extras, network, system
from router.policy.machine.facts import DARWIN, LINUX, Facts
from router.policy.machine.result import Result

Check = Callable[[Facts], Result | Iterable[Result]]

CHECKS: Final[tuple[Check, ...]] = (
    system.kernel,
    system.rights,
    system.tun,
    system.container,
    system.settings,
    system.rp_filter,
    system.forwarding,
    system.ipv6,
    network.ways,
    network.firewall,
    network.other_routes,
    network.resolvers,
    extras.extras,
    extras.programs,
)
ON_MACOS: Final[tuple[Check, ...]] = (
    darwin.kernel,
    darwin.rights,
    darwin.utun,
    darwin.local_network,
    darwin.ipv6,
    network.ways,
    darwin.scoped_routes,
    darwin.other_routes,
    darwin.resolvers,
    extras.extras,
    extras.programs,
)
ANYWHERE: Final[tuple[Check, ...]] = (system.kernel, extras.extras, extras.programs)
"""Those of a system on which a run is not possible."""
OF_SYSTEM: Final = {LINUX: CHECKS, DARWIN: ON_MACOS}


def results(facts: Facts) -> Iterator[Result]:
    """Of every check that can be made of this system."""
    for check in OF_SYSTEM.get(facts.machine.system, ANYWHERE):
        found = check(facts)
        yield from (found,) if isinstance(found, Result) else found
