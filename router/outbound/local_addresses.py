"""The addresses of this machine's interfaces, the TUN's not counted.

Always true: it is what the system had at the last `refresh`.
"""

from __future__ import annotations

from collections.abc import Mapping

from router.policy.network import Interface


class LocalAddresses:
    """tun: the name of our own device."""

    def __init__(self, tun: str) -> None:
        self._tun = tun
        self.owners: dict[bytes, Interface] = {}
        """The interface that has an address, 4 or 16 bytes, or whose routes name it as source."""
        self.gone: frozenset[bytes] = frozenset()
        """Addresses that were among them and are not any more."""

    def refresh(self, present: Mapping[str, Interface]) -> bool:
        """Follow the system's present interfaces; whether an address is gone."""
        before = self.owners.keys()
        self.owners = {
            address.ip.packed: interface
            for interface in present.values()
            if interface.name != self._tun
            for address in interface.addresses
        }
        self.owners |= {
            address.packed: interface
            for interface in present.values()
            for address in interface.borrowed
        }
        self.gone = frozenset((self.gone | before) - self.owners.keys())
        return not before <= self.owners.keys()

    def has(self, address: bytes) -> bool:
        """Whether an address, 4 or 16 bytes, is one of them."""
        return address in self.owners
