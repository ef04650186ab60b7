"""Which interface packets of a policy leave by, for each IP version at present.

The only place that decides it: from the `interface:` of the policy, the present interfaces and the
holders of the default routes, which the kernel names. `check`, `explain` and the running router all
use it.

Always true: an interface is used for a family only while it is up and has a source address of that
family that hosts in other networks can answer to.

Must not know: how interfaces are read, sockets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

from router.config.interfaces import DEFAULT_INTERFACE
from router.policy.network import NO_SOURCES, Interface, Network, SourceRange, Sources
from router.policy.prefixes import FAMILIES

if TYPE_CHECKING:
    from router.config.model import Config, Policy

UsableInterfaces = Mapping[int, Interface]
"""By IP version the interface that packets leave by; empty while the policy is down."""


NO_RANGES: Final[Mapping[int, Sequence[SourceRange]]] = {}


class OutboundFacts(NamedTuple):
    """What routes depend on of a policy that is up.

    mtu: the largest packet in bytes that it carries in all of its families.
    interfaces: the names of those that its packets leave by.
    sources: by IP version the source addresses that the system would use; absent where unknown.
    """

    mtu: int
    interfaces: Sequence[str]
    sources: Mapping[int, Sequence[SourceRange]] = NO_RANGES


NO_PROXIES: Final[Mapping[str, OutboundFacts]] = {}

FactsOf = Callable[[str], OutboundFacts | None]
"""By policy; None where it is down or built in."""


class Lack(Enum):
    """What the interface of a policy lacks, as a clause about the interface `{}`."""

    DEFAULT_ROUTE = "no interface holds a default route"
    INTERFACE = "there is no interface {}"
    LINK = "interface {} is not up"
    ADDRESS = "interface {} has no usable address"

    def clause(self, wanted: str) -> str:
        """`wanted` is the `interface:` of the policy."""
        return self.value.format(wanted)


def usable_interfaces(
    wanted: str, present: Mapping[str, Interface], default_holders: Mapping[int, str | None]
) -> dict[int, Interface]:
    """The interface to leave by, for each IP version that has one.

    `wanted` is the `interface:` of a policy, a name or `default`; `present` are the interfaces by
    name; `default_holders` names by IP version the interface of the best default route.
    """
    usable = {}
    for version in FAMILIES:
        name = default_holders.get(version) if wanted == DEFAULT_INTERFACE else wanted
        interface = find_interface(name, present) if name is not None else None
        if interface is not None and interface.up and interface.source(version):
            usable[version] = interface
    return usable


def find_interface(name: str, present: Mapping[str, Interface]) -> Interface | None:
    """The interface of that name, or of that alternative name."""
    if name in present:
        return present[name]
    return next((each for each in present.values() if name in each.alternative_names), None)


def lack_of(wanted: str, present: Mapping[str, Interface]) -> Lack:
    """Why `usable_interfaces` is empty, which it must be."""
    if wanted == DEFAULT_INTERFACE:
        return Lack.DEFAULT_ROUTE
    interface = find_interface(wanted, present)
    if interface is None:
        return Lack.INTERFACE
    return Lack.ADDRESS if interface.up else Lack.LINK


def leaves_by(wanted: str | None, interface: str, facts: OutboundFacts | None) -> bool:
    """Whether packets of a policy leave by an interface, also while it is not usable.

    `wanted` is the `interface:` of the policy, None for a built-in one; `facts` are those of the
    policy.
    """
    return wanted == interface or (facts is not None and interface in facts.interfaces)


def facts_of(
    interfaces: Mapping[str, UsableInterfaces],
    sources: Sources = NO_SOURCES,
    proxies: Mapping[str, OutboundFacts] = NO_PROXIES,
) -> FactsOf:
    """The facts of policies with these interfaces, as of interfaces_by_policy, and of those with a
    proxy."""

    def of(policy: str) -> OutboundFacts | None:
        return proxies.get(policy) or facts_of_interfaces(interfaces.get(policy, {}), sources)

    return of


def facts_of_interfaces(
    interfaces: UsableInterfaces, sources: Sources = NO_SOURCES
) -> OutboundFacts | None:
    """The facts of a policy with these interfaces; None without any."""
    used = interfaces.values()
    if not used:
        return None
    names = sorted({interface.name for interface in used})
    own = {
        version: ranges
        for version, interface in interfaces.items()
        if (ranges := sources.get((interface.name, version)))
    }
    return OutboundFacts(min(interface.mtu for interface in used), names, own)


def wanted_interfaces(config: Config) -> frozenset[str]:
    """The `interface:` of every policy that has one."""
    policies = config.policies.values()
    return frozenset(policy.interface for policy in policies if policy.interface is not None)


def interfaces_by_policy(
    policies: Mapping[str, Policy], network: Network
) -> dict[str, UsableInterfaces]:
    """The usable interfaces of each policy that has an `interface:`."""
    return {
        name: usable_interfaces(policy.interface, network.interfaces, network.default_holders)
        for name, policy in policies.items()
        if policy.interface is not None
    }
