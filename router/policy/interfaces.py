"""Which interface each way out has at present, by what is known of the network.

Always true: what a policy has here for a family is what a router that is started now would use.

Must not know: how a system is asked, sockets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from router.config.model import DEFAULT_INTERFACE, Policy
from router.policy.network import TABLE_MAIN, Interface, Network, RouteKind

InterfacesNow = Mapping[int, Interface]
"""By IP version the interface that packets would leave by; empty while the policy is down."""


class OutboundFacts(NamedTuple):
    """What routes depend on of a policy that is up.

    mtu: the largest packet in bytes that it carries in all of its families.
    interfaces: the names of those that its packets leave by.
    """

    mtu: int
    interfaces: Sequence[str]


FactsOf = Callable[[str], OutboundFacts | None]
"""By policy; None where it is down or built in."""

VERSIONS = (4, 6)


def facts_of(interfaces: Mapping[str, InterfacesNow]) -> FactsOf:
    """The facts of policies whose interfaces are known; see interfaces_now."""

    def of_policy(policy: str) -> OutboundFacts | None:
        used = interfaces.get(policy, {}).values()
        if not used:
            return None
        names = sorted({interface.name for interface in used})
        return OutboundFacts(min(interface.mtu for interface in used), names)

    return of_policy


def interfaces_now(policies: Mapping[str, Policy], network: Network) -> dict[str, InterfacesNow]:
    """The way of each policy that has an interface."""
    holders = {version: holding_default(network, version) for version in VERSIONS}
    return {
        name: _outbound(policy.interface, network, holders)
        for name, policy in policies.items()
        if policy.interface is not None
    }


def holding_default(network: Network, version: int) -> str | None:
    """Name of the interface of the best default route of a family in the main table."""
    defaults = [
        route
        for route in network.routes
        if route.version == version
        and route.length == 0
        and route.table == TABLE_MAIN
        and route.kind is RouteKind.UNICAST
        and not route.ours
        and route.interface in network.interfaces
    ]
    return min(defaults, key=lambda route: route.metric).interface if defaults else None


def _outbound(wanted: str, network: Network, holders: Mapping[int, str | None]) -> InterfacesNow:
    found = {}
    for version in VERSIONS:
        name = holders[version] if wanted == DEFAULT_INTERFACE else wanted
        interface = network.interfaces.get(name) if name is not None else None
        if interface is not None and interface.up and interface.source(version):
            found[version] = interface
    return found
