"""ICMP query flows: which request goes out under which identifier, and whose answer comes back.

Theory of operation. A *mapping* stands for (inside source, inside identifier) on one way out and
holds the outside identifier under which all its requests leave, whatever their destination
(endpoint-independent mapping, RFC 5508 REQ-1). A *binding* is one (source, destination, kind of
query, identifier): requests find it by `inside_key`, answers by `outside_key`, so an answer from a
host that was not asked, or to a question that was not put, belongs to no binding.

Always true:
- An outside identifier belongs to one mapping, and lies in OUTSIDE_IDS, so that a static kernel
  filter can tell our answers from other programs'.
- No outside identifier that requests leave under is the inside identifier of another mapping:
  the kernel shows every answer to every raw socket of the machine, and a `ping` with that
  identifier would take it for its own. When a new mapping brings such an identifier, the older
  mapping moves to a fresh one; answers under the former still find it.
- A binding ends IDLE seconds after its last request or answer, and in no other way
  (RFC 5508 REQ-2, REQ-6). There are at most `limit` of them.

Must not know: packets, sockets, rules. Time is an argument.
"""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import count
from typing import Final, Generic, TypeVar

from router.flows.tally import Tally

IDLE: Final = 60.0
"""Seconds; RFC 5508 REQ-2 asks for 60 at least."""

OUTSIDE_IDS: Final = range(0xC000, 0x10000)
"""A quarter of the identifiers, so that the filter is one comparison of two bits."""

OutboundT = TypeVar("OutboundT")
"""Whatever stands for a way out; only compared."""


class Mapping(Generic[OutboundT]):
    """One inside (source, identifier) and the outside identifiers it has had, the last in use."""

    __slots__ = ("bindings", "inside_id", "key", "outside_ids")

    def __init__(self, key: tuple[OutboundT, bytes, int], outside_id: int) -> None:
        self.key = key
        self.inside_id = key[2]
        self.outside_ids = [outside_id]
        self.bindings: set[Binding[OutboundT]] = set()


class Binding(Generic[OutboundT]):
    """One query flow.

    `kind` is the ICMP type of its requests, `address` the destination as sockets take it, and
    `last` the time of its last request or answer, in seconds, set by whoever forwards.
    """

    __slots__ = (
        "address",
        "destination",
        "inside_id",
        "inside_key",
        "kind",
        "last",
        "mapping",
        "outbound",
        "outside_id",
        "source",
        "tally",
    )

    def __init__(
        self,
        outbound: OutboundT,
        mapping: Mapping[OutboundT],
        kind: int,
        source: bytes,
        destination: bytes,
        address: str,
        tally: Tally,
        now: float,
    ) -> None:
        self.outbound = outbound
        self.mapping = mapping
        self.kind = kind
        self.inside_key = inside_key(source, destination, kind, mapping.inside_id)
        self.inside_id = mapping.inside_id
        self.outside_id = mapping.outside_ids[-1]
        self.source = source
        self.destination = destination
        self.address = (address, 0)
        self.tally = tally
        self.last = now


def inside_key(source: bytes, destination: bytes, kind: int, identifier: int) -> bytes:
    """What a request is found by; `kind` is its ICMP type."""
    return source + destination + bytes((kind, identifier >> 8, identifier & 0xFF))


def outside_key(remote: bytes, kind: int, identifier: int) -> bytes:
    """What an answer, or an error about a request, is found by; `kind` is the request's type."""
    return remote + bytes((kind, identifier >> 8, identifier & 0xFF))


class QueryTable(Generic[OutboundT]):
    """The query flows of one family.

    limit: how many bindings at most.
    first: where in OUTSIDE_IDS to begin, so that a restarted router does not reuse identifiers
    whose answers may still be under way.
    """

    def __init__(self, limit: int, first: int = 0) -> None:
        self.limit = limit
        self.by_inside: dict[bytes, Binding[OutboundT]] = {}
        self.by_outside: dict[bytes, Binding[OutboundT]] = {}
        self._mappings: dict[tuple[OutboundT, bytes, int], Mapping[OutboundT]] = {}
        self._owners: dict[int, Mapping[OutboundT]] = {}
        self._inside_ids: dict[int, int] = {}
        self._due: list[tuple[float, int, Binding[OutboundT]]] = []
        self._order = count()
        self._next = first % len(OUTSIDE_IDS)

    def __len__(self) -> int:
        return len(self.by_inside)

    def add(
        self,
        outbound: OutboundT,
        source: bytes,
        destination: bytes,
        kind: int,
        identifier: int,
        address: str,
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
        binding = Binding(outbound, mapping, kind, source, destination, address, tally, now)
        tally.flows += 1
        mapping.bindings.add(binding)
        self.by_inside[binding.inside_key] = binding
        for outside_id in mapping.outside_ids:
            self.by_outside[outside_key(destination, kind, outside_id)] = binding
        heappush(self._due, (now + IDLE, next(self._order), binding))
        return binding

    def expire(self, now: float) -> int:
        """End the bindings that have been idle for IDLE seconds; how many those were.

        Costs no more than the bindings that were due since the last call: one that was used
        meanwhile is put back at the time when it is due now.
        """
        ended = 0
        due = self._due
        while due and due[0][0] <= now:
            _, order, binding = heappop(due)
            if self.by_inside.get(binding.inside_key) is not binding:
                continue
            if binding.last + IDLE > now:
                heappush(due, (binding.last + IDLE, order, binding))
            else:
                self.end(binding)
                ended += 1
        return ended

    def remove(self, outbound: OutboundT) -> int:
        """End all bindings of a way out that is gone; how many those were."""
        leaving = [binding for binding in self.by_inside.values() if binding.outbound == outbound]
        for binding in leaving:
            self.end(binding)
        return len(leaving)

    def end(self, binding: Binding[OutboundT]) -> None:
        """End a binding; its mapping ends with its last one."""
        mapping = binding.mapping
        binding.tally.flows -= 1
        del self.by_inside[binding.inside_key]
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
        self._yield_identifier(identifier)
        return mapping

    def _free_outside_id(self) -> int | None:
        for _ in OUTSIDE_IDS:
            candidate = OUTSIDE_IDS[self._next]
            self._next = (self._next + 1) % len(OUTSIDE_IDS)
            if candidate not in self._owners and candidate not in self._inside_ids:
                return candidate
        return None

    def _yield_identifier(self, identifier: int) -> None:
        """Let no older mapping send under what is now an inside identifier."""
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
