"""The ways out of a machine, with what the kernel says about each by its own binding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import Final

from router.config.model import Policy, Proxy
from router.policy.findings.situation import Situation
from router.policy.interfaces import UsableInterfaces, lack_of, usable_interfaces
from router.policy.kernel import KernelWays, Way
from router.policy.machine.facts import WayOut
from router.policy.network import LOOPBACKS, Interface, Network, SystemRoute
from router.policy.prefixes import format_address
from router.policy.proxies import known_servers

SOMEWHERE: Final = {4: int(ip_address("192.0.0.8")), 6: int(ip_address("4000::1"))}
"""An address of each family that only a default route is about: the dummy address of RFC 7600, and
one that is not assigned. Nothing is sent there."""


def ways_out(
    network: Network, ways: KernelWays | None, situation: Situation | None
) -> Iterator[WayOut]:
    """Those of the policies, in the order of the file; without rules every interface that could be
    one. Raises OSError."""
    if situation is None:
        for name in network.interfaces:
            by_version = usable_interfaces(name, network.interfaces, {})
            if by_version and name not in LOOPBACKS and name not in network.own_tuns:
                yield _way(name, by_version, ways)
        return
    for name, policy in situation.config.policies.items():
        usable = situation.interfaces.get(name)
        if usable:
            yield _way(name, usable, ways)
        elif policy.interface is not None:
            yield _down(
                policy, lack_of(policy.interface, network.interfaces).clause(repr(policy.interface))
            )
        elif policy.proxy is not None:
            yield _to_proxy(situation, policy, policy.proxy)


def _down(policy: Policy, lack: str) -> WayOut:
    why = f"{lack}: '{policy.name}' would start down"
    return WayOut(policy.name, None, why=why, otherwise=policy.on_down or "reject")


def _to_proxy(situation: Situation, policy: Policy, proxy: Proxy) -> WayOut:
    """The way of its packets to the proxy: that of `via`, or the system's own."""
    words = f"the proxy {proxy}"
    facts = situation.proxies.get(policy.name)
    if facts is None:
        return _down(policy, f"{words} has no way, since '{proxy.via}' is down")
    if proxy.via is not None:
        return WayOut(policy.name, ", ".join(facts.interfaces), facts.mtu, to=words)
    servers = [each for each in known_servers(situation.config) if each.policy == policy.name]
    for server in servers:
        route = situation.system_fib.lookup(server.version, server.address)
        if isinstance(route, SystemRoute) and route.interface:
            gateways = (
                {}
                if route.gateway is None
                else {server.version: format_address(server.version, route.gateway)}
            )
            mtu = situation.network.interfaces[route.interface].mtu
            source = situation.network.interfaces[route.interface].source(server.version)
            return WayOut(
                policy.name, route.interface, mtu, {server.version: str(source)}, gateways, to=words
            )
    lack = "there is no route to it" if servers else "its name has no address"
    return _down(policy, f"{words}: {lack}")


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
