"""The ways out of a machine, with what the kernel says about each by its own binding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import Final

from router.policy.findings.situation import Situation
from router.policy.interfaces import UsableInterfaces, lack_of, usable_interfaces
from router.policy.kernel import KernelWays, Way
from router.policy.machine.facts import WayOut
from router.policy.network import Interface, Network

SOMEWHERE: Final = {4: int(ip_address("192.0.0.8")), 6: int(ip_address("4000::1"))}
"""An address of each family that only a default route is about: the dummy address of RFC 7600, and
one that is not assigned. Nothing is sent there."""
LOOPBACK: Final = "lo"


def ways_out(
    network: Network, ways: KernelWays | None, situation: Situation | None
) -> Iterator[WayOut]:
    """Those of the policies, in the order of the file; without rules every interface that could be
    one. Raises OSError."""
    if situation is None:
        for name in network.interfaces:
            by_version = usable_interfaces(name, network.interfaces, {})
            if by_version and name != LOOPBACK and name not in network.own_tuns:
                yield _way(name, by_version, ways)
        return
    for name, usable in situation.interfaces.items():
        policy = situation.config.policies[name]
        wanted = policy.interface or ""
        if usable:
            yield _way(name, usable, ways)
        else:
            lack = lack_of(wanted, network.interfaces)
            why = f"{lack.clause(repr(wanted))}: '{name}' would start down"
            yield WayOut(name, None, why=why, otherwise=policy.on_down or "reject")


def _way(name: str, usable: UsableInterfaces, ways: KernelWays | None) -> WayOut:
    """With one interface for each family the first counts; as a rule they are the same."""
    first = next(iter(usable.values()))
    found = dict(_lookups(usable, ways))
    return WayOut(
        name,
        first.name,
        min(each.mtu for each in usable.values()),
        {version: _source(each, version, found) for version, each in usable.items()},
        {
            version: str(ip_address(way.gateway))
            for version, way in found.items()
            if way.gateway is not None
        },
    )


def _lookups(usable: UsableInterfaces, ways: KernelWays | None) -> Iterator[tuple[int, Way]]:
    if ways is None:
        return
    for version, interface in usable.items():
        bound = interface.bound_source(version)
        source = None if bound is None else bound.packed
        way = ways.way_by(version, SOMEWHERE[version], interface.name, source)
        if way is not None:
            yield version, way


def _source(interface: Interface, version: int, found: Mapping[int, Way]) -> str:
    way = found.get(version)
    if way is not None and way.source is not None:
        return str(ip_address(way.source))
    return str(interface.source(version))
