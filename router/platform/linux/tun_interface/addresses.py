"""The TUN's addresses.

Always true: an address that the configuration does not name is removed only if the system generated
it (a link-local address).
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Interface, IPv6Interface

from pyroute2.iproute.linux import IPRoute

from router.platform.base.routes import ReconcileResult
from router.platform.linux.netlink.constants import IFA_F_NODAD
from router.platform.linux.tun_interface.attempt import attempt

Address = IPv4Interface | IPv6Interface


class TunAddresses:
    """`configured`, by the interface `index`.

    new: those added by the last `restore`; the kernel makes their routes itself.
    """

    def __init__(self, netlink: IPRoute, index: int, configured: Sequence[Address]) -> None:
        self.configured = configured
        self.new: set[Address] = set()
        self._netlink = netlink
        self._index = index

    def configure(self) -> None:
        """Raises NetlinkError."""
        for address in self.configured:
            self._add(address)

    def restore(
        self, present: Sequence[Address], result: ReconcileResult, *, remove_generated: bool
    ) -> set[int]:
        """The IP versions that lack an address. `present`: the TUN's addresses at present."""
        self.new.clear()
        failed: set[int] = set()
        for address in present:
            if remove_generated and address.is_link_local and address not in self.configured:
                attempt(result, f"no {address}", self._remove, address=address)
        for address in self.configured:
            if address not in present:
                if not attempt(result, str(address), self._add, address=address):
                    failed.add(address.version)
                self.new.add(address)
        return failed

    def add_anew(self, address: Address) -> None:
        """Remove it and add it, and with it the routes that the kernel makes. Raises
        NetlinkError."""
        self._remove(address)
        self._add(address)

    def _add(self, address: Address) -> None:
        """Without duplicate address detection: the link has no other host, and sockets can listen
        at the address at once."""
        self._netlink.addr(
            "add",
            index=self._index,
            address=str(address.ip),
            prefixlen=address.network.prefixlen,
            flags=IFA_F_NODAD if address.version == 6 else 0,
        )

    def _remove(self, address: Address) -> None:
        self._netlink.addr(
            "del",
            index=self._index,
            address=str(address.ip),
            prefixlen=address.network.prefixlen,
        )
