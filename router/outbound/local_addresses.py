"""The addresses of this machine's interfaces, the TUN's not counted.

Always true: it is what the system had at the last `refresh`.
"""

from __future__ import annotations

from collections.abc import Mapping

from router.policy.network import Interface


class LocalAddresses:
    """tun: the name of our own device."""

    def __init__(self, tun: str) -> None:
        self.tun = tun
        self.owners: dict[bytes, Interface] = {}
        """The interface that has an address, 4 or 16 bytes, or whose routes name it as source; of
        several, as two tunnels of one provider may have the same address, the one that had it
        first: what goes on by that is not to end."""
        self.gone: frozenset[bytes] = frozenset()
        """Addresses that were among them and are not any more."""

    def refresh(self, present: Mapping[str, Interface]) -> bool:
        """Follow the system's present interfaces; whether an address is gone."""
        before = self.owners
        own = [
            (address.ip.packed, interface)
            for interface in present.values()
            if interface.name != self.tun
            for address in interface.addresses
        ]
        own += [
            (address.packed, interface)
            for interface in present.values()
            for address in interface.borrowed
        ]
        self.owners = dict(own)
        for address, interface in own:
            if address in before and before[address].index == interface.index:
                self.owners[address] = interface
        self.gone = frozenset((self.gone | before.keys()) - self.owners.keys())
        return not before.keys() <= self.owners.keys()

    def has(self, address: bytes) -> bool:
        """Whether an address, 4 or 16 bytes, is one of them."""
        return address in self.owners
