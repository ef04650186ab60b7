"""The TUN's addresses.

Always true: an address that the configuration does not name is removed only if the system generated
it (a link-local address).
"""

from __future__ import annotations

from collections.abc import Sequence

from router.platform.base.routes import ReconcileResult
from router.platform.linux.netlink.addresses import Address, add_address, delete_address
from router.platform.linux.netlink.request import request
from router.platform.linux.tun_interface.attempt import attempt


class TunAddresses:
    """`configured`, by the interface `index`.

    new: those added by the last `restore`; the kernel makes their routes itself.
    """

    def __init__(self, index: int, configured: Sequence[Address]) -> None:
        self.configured = configured
        self.new: set[Address] = set()
        self._index = index

    def configure(self) -> None:
        """Raises OSError."""
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
        OSError."""
        self._remove(address)
        self._add(address)

    def _add(self, address: Address) -> None:
        """Without duplicate address detection: the link has no other host, and sockets can listen
        at the address at once."""
        request(add_address(self._index, address))

    def _remove(self, address: Address) -> None:
        request(delete_address(self._index, address))
