"""ICMP query flows: the outside identifier of each request, and the flow of each reply.

Theory of operation. A *mapping* stands for (inside source, inside identifier) on one outbound and
holds the outside identifier under which all its requests leave, whatever their destination
(endpoint-independent mapping, RFC 5508 REQ-1). A *binding* is one flow: (source, destination, type
of query, identifier). Requests find it by `inside_key`, replies by `outside_key`, so a reply from a
host that no request was sent to, or of a type that none had, belongs to no binding.

Always true:
- An outside identifier belongs to one mapping, and lies in OUTSIDE_IDS, so that a static kernel
  filter can tell our replies from other programs'.
- No outside identifier that requests leave under is the inside identifier of another mapping:
  the kernel copies every reply to every raw socket of the machine, and a `ping` with that
  identifier would count it as its own. When a new mapping has such an inside identifier, the older
  mapping changes to an unused one; replies under the former still find it.
- A binding ends IDLE seconds after its last request or reply (RFC 5508 REQ-2, REQ-6), or when its
  outbound or its rule has gone. There are at most `limit` of them.

Must not know: packets, sockets, rules. Time is an argument.
"""

from __future__ import annotations

from typing import Final, Generic

from router.flows.expiry import NEVER, ExpiryQueue
from router.flows.flow import Flow, FlowTable, OutboundT
from router.flows.tally import Tally
from router.wire.icmp import protocol_of

IDLE: Final = 60.0
"""Seconds; RFC 5508 REQ-2 requires 60 at least."""

OUTSIDE_IDS: Final = range(0xC000, 0x10000)
"""A quarter of the identifiers, so that the filter is one comparison of two bits."""


class Mapping(Generic[OutboundT]):
    """One inside (source, identifier) and the outside identifiers it has had, the last in use."""

    __slots__ = ("bindings", "inside_id", "key", "outside_ids")

    def __init__(self, key: tuple[OutboundT, bytes, int], outside_id: int) -> None:
        self.key = key
        self.inside_id = key[2]
        self.outside_ids = [outside_id]
        self.bindings: set[Binding[OutboundT]] = set()


class Binding(Flow[OutboundT]):
    """One query flow.

    kind             the ICMP type of its requests
    address          the destination as sockets take it
    outside_address  the source of its requests outside, which they keep; unspecified where none
                     is known
    last             set by the code that forwards
    """

    __slots__ = (
        "address",
        "destination",
        "due",
        "inside_id",
        "kind",
        "last",
        "mapping",
        "outbound",
        "outside_address",
        "outside_id",
        "source",
    )

    destination: bytes
    last: float
    outbound: OutboundT
    source: bytes

    def __init__(
        self,
        outbound: OutboundT,
        mapping: Mapping[OutboundT],
        kind: int,
        source: bytes,
        destination: bytes,
        address: str,
        outside_address: bytes,
        tally: Tally,
        now: float,
    ) -> None:
        super().__init__(inside_key(source, destination, kind, mapping.inside_id), tally, now)
        self.outbound = outbound
        self.mapping = mapping
        self.kind = kind
        self.inside_id = mapping.inside_id
        self.outside_id = mapping.outside_ids[-1]
        self.source = source
        self.destination = destination
        self.address = (address, 0)
        self.outside_address = outside_address
        self.last = now
        self.due = NEVER

    @property
    def protocol(self) -> int:
        return protocol_of(self.version)

    @property
    def source_port(self) -> int:
        return self.inside_id

    @property
    def destination_port(self) -> int:
        return self.inside_id

    def expires(self, _now: float) -> float:
        """See router.flows.expiry."""
        return self.last + IDLE


def inside_key(source: bytes, destination: bytes, kind: int, identifier: int) -> bytes:
    """The key of a request; `kind` is its ICMP type."""
    return source + destination + bytes((kind, identifier >> 8, identifier & 0xFF))


def outside_key(remote: bytes, kind: int, identifier: int) -> bytes:
    """The key of a reply, or of an error about a request; `kind` is the type of the request."""
    return remote + bytes((kind, identifier >> 8, identifier & 0xFF))


class QueryTable(FlowTable[OutboundT, Binding[OutboundT]]):
    """The query flows of one family.

    limit: how many bindings at most.
    first: where in OUTSIDE_IDS to begin, so that a restarted router does not reuse identifiers
    of which replies may still be under way.
    """

    def __init__(self, limit: int, first: int = 0) -> None:
        super().__init__()
        self.limit = limit
        self.by_outside: dict[bytes, Binding[OutboundT]] = {}
        self._mappings: dict[tuple[OutboundT, bytes, int], Mapping[OutboundT]] = {}
        self._owners: dict[int, Mapping[OutboundT]] = {}
        self._inside_ids: dict[int, int] = {}
        self._expiry: ExpiryQueue[Binding[OutboundT]] = ExpiryQueue()
        self._next = first % len(OUTSIDE_IDS)

    def add(
        self,
        outbound: OutboundT,
        source: bytes,
        destination: bytes,
        kind: int,
        identifier: int,
        address: str,
        outside_address: bytes,
        tally: Tally,
        now: float,
    ) -> Binding[OutboundT] | None:
        """A new binding for a request that has none; None when the table is full."""
        if len(self.by_inside) >= self.limit:
            self.expire(now)
            if len(self.by_inside) >= self.limit:
                return None
        mapping = self._mapping(outbound, source, identifier)
        if mapping is None:
            return None
        ends = source, destination, address, outside_address
        binding = Binding(outbound, mapping, kind, *ends, tally, now)
        self._insert(binding)
        mapping.bindings.add(binding)
        for outside_id in mapping.outside_ids:
            self.by_outside[outside_key(destination, kind, outside_id)] = binding
        self._expiry.schedule(binding, now)
        return binding

    def expire(self, now: float) -> None:
        """End the bindings that have been idle for IDLE seconds."""
        for binding in self._expiry.expired(now):
            self.end(binding)

    def end(self, binding: Binding[OutboundT]) -> None:
        """End a binding; its mapping ends with its last one."""
        mapping = binding.mapping
        self._delete(binding)
        self._expiry.cancel(binding)
        for outside_id in mapping.outside_ids:
            del self.by_outside[outside_key(binding.destination, binding.kind, outside_id)]
        mapping.bindings.remove(binding)
        if not mapping.bindings:
            del self._mappings[mapping.key]
            for outside_id in mapping.outside_ids:
                del self._owners[outside_id]
            self._forget_inside_id(mapping.inside_id)

    def _mapping(
        self, outbound: OutboundT, source: bytes, identifier: int
    ) -> Mapping[OutboundT] | None:
        key = (outbound, source, identifier)
        mapping = self._mappings.get(key)
        if mapping is not None:
            return mapping
        self._inside_ids[identifier] = self._inside_ids.get(identifier, 0) + 1
        outside_id = self._free_outside_id()
        if outside_id is None:
            self._forget_inside_id(identifier)
            return None
        mapping = self._mappings[key] = self._owners[outside_id] = Mapping(key, outside_id)
        self._avoid_outside(identifier)
        return mapping

    def _free_outside_id(self) -> int | None:
        for _ in OUTSIDE_IDS:
            candidate = OUTSIDE_IDS[self._next]
            self._next = (self._next + 1) % len(OUTSIDE_IDS)
            if candidate not in self._owners and candidate not in self._inside_ids:
                return candidate
        return None

    def _avoid_outside(self, identifier: int) -> None:
        """Change the mapping that sends under what is now an inside identifier, if there is one."""
        older = self._owners.get(identifier)
        if older is None or older.outside_ids[-1] != identifier:
            return
        outside_id = self._free_outside_id()
        if outside_id is None:
            return
        older.outside_ids.append(outside_id)
        self._owners[outside_id] = older
        for binding in older.bindings:
            binding.outside_id = outside_id
            self.by_outside[outside_key(binding.destination, binding.kind, outside_id)] = binding

    def _forget_inside_id(self, identifier: int) -> None:
        self._inside_ids[identifier] -= 1
        if not self._inside_ids[identifier]:
            del self._inside_ids[identifier]
