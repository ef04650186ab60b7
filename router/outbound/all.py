"""The outbounds of a configuration, by policy.

Always true: policies that leave by the same way share one outbound, so that no answer arrives at
two sockets of ours; an outbound that a flow or a policy uses stays open.

Must not know: how an outbound carries packets.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Hashable, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from router.config.model import Policy, PolicyType
from router.outbound.base import (
    Change,
    ChannelWatcher,
    ManagedOutbound,
    Outbound,
)
from router.outbound.direct import DirectSenders
from router.outbound.interface import InterfaceOutbound
from router.outbound.local_addresses import LocalAddresses
from router.outbound.socks5.outbound import Socks5Outbound
from router.outbound.socks5.tools import Tools
from router.outbound.socks5.way import BySystemRoutes, ViaOutbound
from router.outbound.system_routes import SystemRoutes
from router.platform.base.system import System
from router.policy.network import ProxyServer
from router.policy.prefixes import FAMILIES


class Surroundings(NamedTuple):
    """What every outbound may use. tun: the name of our own device. addresses, senders: of this
    machine. channels: reads from query channels. routes: the system's own."""

    system: System
    tun: str
    addresses: LocalAddresses
    senders: DirectSenders
    channels: ChannelWatcher
    tools: Tools
    routes: SystemRoutes


Policies = Mapping[str, Policy]
Find = Callable[[str], ManagedOutbound]
"""The outbound of another policy."""


class Kind(NamedTuple):
    """Outbounds of one kind. identity: equal for policies that share one. make: opens nothing."""

    identity: Callable[[Policy, Policies], Hashable]
    make: Callable[[Policy, Surroundings, Find], ManagedOutbound]


def _by_interface(name: str, surroundings: Surroundings) -> InterfaceOutbound:
    system, tun, addresses, senders, channels, tools, _ = surroundings
    return InterfaceOutbound(name, tun, system, addresses, senders, channels, tools.loop)


def _make_by_interface(
    policy: Policy, surroundings: Surroundings, _find: Find
) -> InterfaceOutbound:
    assert policy.interface is not None, "the reader of such policies demands it"
    return _by_interface(policy.interface, surroundings)


def _socks5_identity(policy: Policy, policies: Policies) -> Hashable:
    proxy = policy.proxy
    assert proxy is not None, "the reader of such policies demands it"
    via = policies[proxy.via] if proxy.via is not None else None
    way = None if via is None else KINDS[via.type].identity(via, policies)
    return proxy.host, proxy.port, proxy.resolved, proxy.credentials, proxy.udp, way


def _make_socks5(policy: Policy, surroundings: Surroundings, find: Find) -> Socks5Outbound:
    proxy = policy.proxy
    assert proxy is not None, "the reader of such policies demands it"
    system, _, addresses, _, _, tools, routes = surroundings
    if proxy.via is None:
        return Socks5Outbound(proxy, BySystemRoutes(routes, system, addresses, tools.loop), tools)
    return Socks5Outbound(proxy, ViaOutbound(find(proxy.via), proxy.via), tools)


INTERFACE: Final = Kind(lambda policy, _: policy.interface, _make_by_interface)
KINDS: Final[Mapping[PolicyType, Kind]] = {
    PolicyType.DIRECT: INTERFACE,
    PolicyType.VPN: INTERFACE,
    PolicyType.SOCKS5: Kind(_socks5_identity, _make_socks5),
}
"""What carries the packets of a policy; the built-in policies have nothing here."""


class Outbounds:
    """All outbounds. by_policy: those of the policies that have one."""

    def __init__(
        self,
        policies: Iterable[Policy],
        surroundings: Surroundings,
        kinds: Mapping[PolicyType, Kind] = KINDS,
    ) -> None:
        self._surroundings = surroundings
        self._kinds = kinds
        self.by_policy: dict[str, ManagedOutbound] = {}
        self._by_identity: dict[Hashable, ManagedOutbound] = {}
        self._assign(policies)

    def is_up(self, policy: str) -> bool:
        """Whether a policy's outbound is up; built-in policies always are."""
        outbound = self.by_policy.get(policy)
        return outbound is None or outbound.up

    def interface_names(self) -> set[str]:
        """Of those that packets of a policy leave by."""
        every = (outbound.facts for outbound in self.by_policy.values())
        return {name for facts in every if facts is not None for name in facts.interfaces}

    def by_system(self, version: int, address: int) -> Outbound | None:
        """The outbound that the system's own routes name for an address, were the TUN not there.

        None where they name none. An answer holds until the next change.
        """
        size = 4 if version == 4 else 16
        name = self._surroundings.routes.leaving_by(address.to_bytes(size, "big"))
        if name is None:
            return None
        outbound = self._by_identity.get(name)
        if outbound is None:
            outbound = _by_interface(name, self._surroundings)
            self._by_identity[name] = outbound
            outbound.refresh(self._surroundings.system.interfaces.all())
        return outbound

    def proxy_servers(self) -> list[ProxyServer]:
        """Addresses of proxies that the system's own routes lead to; for the plan of routes."""
        return [
            ProxyServer(name, 4 if len(address) == 4 else 6, int.from_bytes(address, "big"), port)
            for name, outbound in self.by_policy.items()
            if isinstance(outbound, Socks5Outbound) and not outbound.via
            for address, port in outbound.servers
        ]

    def refresh(self, *, address_removed: bool = False) -> list[Change]:
        """Follow the system's present interfaces; what has changed. address_removed: whether an
        address may be gone that has come since the last time, so that it has never been seen."""
        self._surroundings.routes.forget()
        present = self._surroundings.system.interfaces.all()
        address_removed |= self._surroundings.addresses.refresh(present)
        changes = []
        lost_by: dict[Outbound | None, frozenset[int]] = {}
        for outbound in list(self._all()):
            lost = outbound.refresh(present)
            if isinstance(outbound, Socks5Outbound) and lost_by.get(outbound.via):
                lost = frozenset(FAMILIES)
            if lost:
                lost_by[outbound] = lost
            if lost is not None:
                changes.append(Change(outbound, lost))
            elif address_removed:  # a route may name one of another interface as the source
                changes.append(Change(outbound, frozenset(), differs=False))
        return changes

    def take_over(self, policies: Iterable[Policy]) -> None:
        """Serve other policies: outbounds that exist stay as they are, new ones are opened. Those
        that are needed no more exist until `close_unused`."""
        known = set(self._all())
        self.by_policy.clear()
        self._assign(policies)
        new = [outbound for outbound in self._all() if outbound not in known]
        if new:
            present = self._surroundings.system.interfaces.all()
            for outbound in new:
                outbound.refresh(present)

    def close_unused(self, in_use: Container[Outbound]) -> None:
        """Close what neither a policy nor a flow needs. Not in the round of the loop in which one
        of its sockets may be readable."""
        every = list(self._all())
        needed = {each for each in every if each in in_use} | set(self.by_policy.values())
        for outbound in reversed(every):  # those that another one leaves by stand before it
            if outbound in needed and isinstance(outbound, Socks5Outbound) and outbound.via:
                needed.add(outbound.via)
        for identity, outbound in list(self._by_identity.items()):
            if outbound not in needed:
                outbound.close()
                del self._by_identity[identity]

    def close(self) -> None:
        self._surroundings.routes.close()
        for outbound in self._all():
            outbound.close()

    def _all(self) -> Iterator[ManagedOutbound]:
        return iter(self._by_identity.values())

    def _assign(self, policies: Iterable[Policy]) -> None:
        by_name = {policy.name: policy for policy in policies}

        def find(name: str) -> ManagedOutbound:
            policy = by_name[name]
            kind = self._kinds[policy.type]
            identity = kind.identity(policy, by_name)
            outbound = self._by_identity.get(identity)
            if outbound is None:
                outbound = kind.make(policy, self._surroundings, find)
                self._by_identity[identity] = outbound
            return outbound

        for policy in by_name.values():
            if policy.type in self._kinds:
                self.by_policy[policy.name] = find(policy.name)
