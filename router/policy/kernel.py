"""What the kernel says about the way to an address, as `explain` and `bypass` need it.

Must not know: how a kernel is asked.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Way(NamedTuple):
    """How packets leave. Addresses are packed; the gateway may be of the other family, and is None
    where the destination is on the link. source: None where the system names none."""

    interface: str
    source: bytes | None = None
    gateway: bytes | None = None


class KernelWays(Protocol):
    """The kernel's answers, the TUNs of this program left out."""

    def way(self, version: int, address: int) -> Way | None:
        """The way of packets to an address. None where there is none, and for an address of this
        machine. Raises OSError."""
        ...

    def way_by(
        self, version: int, address: int, interface: str, source: bytes | None
    ) -> Way | None:
        """That of a socket that is bound to an interface and, unless None, to a source address."""
        ...

    def default_holder(self, version: int) -> str | None:
        """The interface of the default route that the kernel would use. Raises OSError."""
        ...

    def close(self) -> None: ...
