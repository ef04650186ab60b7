"""The system's own routes, as if the TUN were not there.

Always true: an answer holds until `forget`, which is called whenever the system has changed.

Must not know: policies.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Final

from router.outbound.local_addresses import LocalAddresses
from router.platform.base.system import System
from router.platform.reason import reason
from router.policy.kernel import KernelWays
from router.policy.network import Interface

log = logging.getLogger(__name__)

MOST_ANSWERS: Final = 4096
"""Of the system's answers that are kept."""


class SystemRoutes:
    """tun: the name of our own device. addresses: of this machine."""

    def __init__(self, system: System, tun: str, addresses: LocalAddresses) -> None:
        self._system = system
        self._tun = tun
        self._addresses = addresses
        self._ways: KernelWays | None = None
        self._names: OrderedDict[bytes, str | None] = OrderedDict()
        self._interfaces: dict[bytes, Interface | None] = {}

    def leaving_by(self, address: bytes) -> str | None:
        """The name of the interface for an address, 4 or 16 bytes; None where there is no way, and
        for an address of this machine."""
        if address not in self._names:
            if len(self._names) >= MOST_ANSWERS:
                self._names.popitem(last=False)
            self._names[address] = self._ask(address)
        return self._names[address]

    def interface(self, address: bytes) -> Interface | None:
        """That which sockets have to be bound to for an address, which may be one of this machine;
        None where there is no way."""
        if address not in self._interfaces:
            present = self._system.interfaces.all()
            found = self._local(address, present) or present.get(self.leaving_by(address) or "")
            known = None if found is None else self._system.interfaces.with_sources(found)
            self._interfaces[address] = known
        return self._interfaces[address]

    def forget(self) -> None:
        self._names.clear()
        self._interfaces.clear()
        if self._ways is not None:
            self._ways.close()
            self._ways = None

    close = forget

    def _local(self, address: bytes, present: Mapping[str, Interface]) -> Interface | None:
        """The interface that has an address, as far as it is one of this machine."""
        if not ip_address(address).is_loopback:
            return self._addresses.owners.get(address)
        own = (each for each in present.values() for one in each.addresses if one.is_loopback)
        return next(own, None)

    def _ask(self, address: bytes) -> str | None:
        try:
            if self._ways is None:
                self._ways = self._system.facts.ways(self._system.interfaces.all(), self._tun)
            version = 4 if len(address) == 4 else 6
            way = self._ways.way(version, int.from_bytes(address, "big"))
        except OSError as error:
            log.warning("the system's routes cannot be read: %s", reason(error))
            return None
        return None if way is None else way.interface
