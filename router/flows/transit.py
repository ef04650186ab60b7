"""TCP connections that pass this machine around the router: another host began them, by a route of
its own, and a host behind this machine has accepted them.

Theory of operation. The request came by another interface and never reached the TUN; the answers
follow the route towards the other host, which is the TUN's. A host that accepts a connection sends
a segment that no application behind the router ever sends: an acknowledged request (SYN-ACK). From
then on the segments of these ends are known; all others that belong to no flow are of connections
that have ended, and are reset.

Always true: at most `limit` connections are known, those that were used last; a request of the same
ends forgets them, since then the host behind this machine begins a connection itself.

Must not know: packets as a whole, sockets, rules.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

LIMIT: Final = 16_384
"""As many as there may be relayed connections."""


class TransitTable:
    """Connections by the key of their segments from the inside; see router.flows.tcp."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._known: OrderedDict[bytes, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def accepted(self, key: bytes) -> None:
        """A host behind this machine has accepted a connection."""
        self._known.pop(key, None)
        if len(self._known) >= self._limit:
            self._known.popitem(last=False)
        self._known[key] = None

    def knows(self, key: bytes) -> bool:
        """Whether a segment belongs to one; it is then the one that was used last."""
        if key not in self._known:
            return False
        self._known.move_to_end(key)
        return True

    def forget(self, key: bytes) -> None:
        """These ends begin a connection by the router, if they are known at all."""
        self._known.pop(key, None)
