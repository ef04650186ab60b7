"""The addresses of a proxy: its own, or those that its name has at present.

Theory of operation. A name is resolved at the start and after failures; no connection waits for it,
and what was found before stays until other addresses are found.

Always true: the address that has worked last comes first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from router.config.model import Proxy
from router.platform.host_names import Resolved


class Names(Protocol):
    """See router.outbound.host_names.HostNames."""

    def resolve(self, host: str, done: Callable[[Resolved], None]) -> None: ...


class ProxyAddresses:
    """all: 4 or 16 bytes each; empty as long as the name has none. fault: why, in one clause."""

    def __init__(self, proxy: Proxy, names: Names) -> None:
        own = proxy.address
        self.all: Sequence[bytes] = proxy.resolved if own is None else (own.packed,)
        self.fault = f"the name {proxy.host} is not resolved yet"
        self._host = proxy.host
        self._is_fixed = own is not None
        self._names = names

    def worked(self, address: bytes) -> None:
        """An address of them is the one to begin with."""
        if address in self.all and self.all[0] != address:
            self.all = (address, *(each for each in self.all if each != address))

    def resolve(self, done: Callable[[], None]) -> None:
        """Ask the system, and call `done` afterwards; at once where there is nothing to resolve."""
        if self._is_fixed:
            done()
            return

        def resolved(found: Resolved) -> None:
            self._take(found)
            done()

        self._names.resolve(self._host, resolved)

    def _take(self, found: Resolved) -> None:
        if found.addresses:
            first = [address for address in self.all[:1] if address in found.addresses]
            self.all = tuple(dict.fromkeys([*first, *found.addresses]))
        else:
            self.fault = f"the name {self._host} cannot be resolved: {found.fault}"
