"""The outbounds of a configuration, by policy.

Always true: policies that leave by the same way share one outbound, so that no answer arrives at
two sockets of ours; an outbound that a flow or a policy uses stays open.

Must not know: how an outbound carries packets.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Hashable, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from router.config.model import Policy, PolicyType
from router.outbound.base import (
    Change,
    ChangeWatcher,
    ChannelWatcher,
    ManagedOutbound,
    Outbound,
)
from router.outbound.direct import DirectSenders
from router.outbound.interface import InterfaceOutbound
from router.outbound.local_addresses import LocalAddresses
from router.platform.base.system import System
from router.platform.reason import reason
from router.policy.kernel import KernelWays

log = logging.getLogger(__name__)

MOST_ANSWERS: Final = 4096
"""Of the system's answers that are kept."""


class Surroundings(NamedTuple):
    """What every outbound may use. tun: the name of our own device. addresses, senders: of this
    machine. channels: reads from query channels. loop: watches dials."""

    system: System
    tun: str
    addresses: LocalAddresses
    senders: DirectSenders
    channels: ChannelWatcher
    loop: ChangeWatcher


class Kind(NamedTuple):
    """Outbounds of one kind. identity: equal for policies that share one. make: opens nothing."""

    identity: Callable[[Policy], Hashable]
    make: Callable[[Policy, Surroundings], ManagedOutbound]


def _by_interface(name: str, surroundings: Surroundings) -> InterfaceOutbound:
    system, tun, addresses, senders, channels, loop = surroundings
    return InterfaceOutbound(name, tun, system, addresses, senders, channels, loop)


def _make_by_interface(policy: Policy, surroundings: Surroundings) -> InterfaceOutbound:
    assert policy.interface is not None, "the reader of such policies demands it"
    return _by_interface(policy.interface, surroundings)


INTERFACE: Final = Kind(lambda policy: policy.interface, _make_by_interface)
KINDS: Final[Mapping[PolicyType, Kind]] = {
    PolicyType.DIRECT: INTERFACE,
    PolicyType.VPN: INTERFACE,
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
        self._ways: KernelWays | None = None
        self._by_address: dict[tuple[int, int], Outbound | None] = {}
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
        key = version, address
        if key not in self._by_address:
            if len(self._by_address) >= MOST_ANSWERS:
                self._by_address.clear()
            self._by_address[key] = self._ask_system(version, address)
        return self._by_address[key]

    def _ask_system(self, version: int, address: int) -> Outbound | None:
        system, tun, *_ = self._surroundings
        try:
            if self._ways is None:
                self._ways = system.facts.ways(system.interfaces.all(), tun)
            way = self._ways.way(version, address)
        except OSError as error:
            log.warning("the system's routes cannot be read: %s", reason(error))
            return None
        if way is None:
            return None
        outbound = self._by_identity.get(way.interface)
        if outbound is None:
            outbound = _by_interface(way.interface, self._surroundings)
            self._by_identity[way.interface] = outbound
            outbound.refresh(system.interfaces.all())
        return outbound

    def _forget_answers(self) -> None:
        self._by_address.clear()
        if self._ways is not None:
            self._ways.close()
            self._ways = None

    def refresh(self) -> list[Change]:
        """Follow the system's present interfaces; what has changed."""
        self._forget_answers()
        present = self._surroundings.system.interfaces.all()
        address_gone = self._surroundings.addresses.refresh(present)
        changes = []
        for outbound in self._all():
            lost = outbound.refresh(present)
            if lost is not None:
                changes.append(Change(outbound, lost))
            elif address_gone:  # a route may name one of another interface as the source
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
        named = set(self.by_policy.values())
        for identity, outbound in list(self._by_identity.items()):
            if outbound not in named and outbound not in in_use:
                outbound.close()
                del self._by_identity[identity]
                self._by_address.clear()

    def close(self) -> None:
        self._forget_answers()
        for outbound in self._all():
            outbound.close()

    def _all(self) -> Iterator[ManagedOutbound]:
        return iter(self._by_identity.values())

    def _assign(self, policies: Iterable[Policy]) -> None:
        for policy in policies:
            kind = self._kinds.get(policy.type)
            if kind is None:
                continue
            identity = kind.identity(policy)
            outbound = self._by_identity.get(identity)
            if outbound is None:
                outbound = self._by_identity[identity] = kind.make(policy, self._surroundings)
            self.by_policy[policy.name] = outbound
