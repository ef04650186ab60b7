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
        self._owners: dict[bytes, Interface] = {}

    def refresh(self, present: Mapping[str, Interface]) -> bool:
        """Follow the system's present interfaces; whether an address is gone."""
        before = self._owners
        self._owners = {
            address.ip.packed: interface
            for interface in present.values()
            if interface.name != self._tun
            for address in interface.addresses
        }
        return not before.keys() <= self._owners.keys()

    def has(self, address: bytes) -> bool:
        """Whether an address, 4 or 16 bytes, is one of them."""
        return address in self._owners

    def interface_indices(self) -> set[int]:
        """Of the interfaces that have one."""
        return {interface.index for interface in self._owners.values()}

    def owner(self, address: bytes) -> Interface:
        """The interface that has it. Raises KeyError."""
        return self._owners[address]
