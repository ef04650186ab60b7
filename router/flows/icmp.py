"""ICMP query flows: the outside identifier of each request, and the flow of each reply.

Theory of operation. A *mapping* stands for (inside source, inside identifier) on one outbound and
holds the outside identifier under which all its requests leave, whatever their destination
(endpoint-independent mapping, RFC 5508 REQ-1). A *binding* is one flow: (source, destination, type
of query, identifier). Requests find it by `inside_key`, replies by `answered`, so a reply from a
host that no request was sent to, or of a type that none had, belongs to no binding.

Always true:
- An outside identifier belongs to one mapping, and lies in OUTSIDE_IDS, so that a static kernel
  filter can tell our replies from other programs'.
- No outside identifier that requests leave under is the inside identifier of a mapping of this
  machine: the kernel copies every reply to every raw socket of the machine, and a `ping` with that
  identifier would count it as its own. When such a mapping begins, the older one changes to an
  unused identifier; replies under the FORMER ones before it still find it.
- A binding ends IDLE seconds after its last request or reply (RFC 5508 REQ-2, REQ-6), or when its
  outbound or its rule has gone; after UNANSWERED_IDLE where it is unanswered and the table is
  crowded. There are at most `limit` of them, and each source has a share (router.flows.shares).
- Every operation on a packet costs the logarithm of what is held, or less.

Must not know: packets, sockets, rules. Time is an argument.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic

from router.flows.expiry import EVERY, NEVER, ExpiryQueue
from router.flows.flow import Flow, FlowTable, OutboundT
from router.flows.numbers import NONE_LEFT, NumberList
from router.flows.shares import Shares
from router.flows.shrinking import shrink
from router.flows.tally import Tally
from router.wire.icmp import protocol_of

IDLE: Final = 60.0
"""Seconds; RFC 5508 REQ-2 requires 60 at least."""

UNANSWERED_IDLE: Final = 10.0
"""Seconds; in a crowded table, of a query without an answer."""

OUTSIDE_IDS: Final = range(0x8000, 0x10000)
"""Half of the identifiers: as many as there may be bindings."""
FORMER: Final = 4
"""Outside identifiers of a mapping under which replies still find it, but for the present one."""
LOOKS: Final = 64
"""Bindings that a request looks at to make room."""


class Mapping(Generic[OutboundT]):
    """One inside (source, identifier) and the outside identifiers it has had, the last in use.

    bindings: by the remote host and the kind of query. is_local: of this machine. shares: those of
    its table.
    """

    __slots__ = ("bindings", "inside_id", "is_local", "key", "outside_ids", "shares")

    def __init__(
        self,
        key: tuple[OutboundT, bytes, int],
        outside_id: int,
        shares: Shares,
        *,
        is_local: bool,
    ) -> None:
        self.key = key
        self.shares = shares
        self.inside_id = key[2]
        self.outside_ids = [outside_id]
        self.bindings: dict[bytes, Binding[OutboundT]] = {}
        self.is_local = is_local


class Binding(Flow[OutboundT]):
    """One query flow.

    kind             the ICMP type of its requests
    address          the destination as sockets take it
    outside_address  the source of its requests outside, which they keep; unspecified where none
                     is known
    last, answered   set by the code that forwards
    timed, timed_at  the sequence number, 2 bytes, of the query whose answer tells the round trip,
                     and when it was sent; none at present: empty
    round_trip       of the last query that was timed, in seconds; None where none was answered
    """

    __slots__ = (
        "address",
        "answered",
        "destination",
        "due",
        "inside_id",
        "kind",
        "last",
        "mapping",
        "outbound",
        "outside_address",
        "round_trip",
        "source",
        "timed",
        "timed_at",
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
        self.source = source
        self.destination = destination
        self.address = (address, 0)
        self.outside_address = outside_address
        self.last = now
        self.due = NEVER
        self.answered = False
        self.timed = b""
        self.timed_at = float("-inf")
        self.round_trip: float | None = None

    @property
    def outside_id(self) -> int:
        """Under which its requests leave."""
        return self.mapping.outside_ids[-1]

    @property
    def remote_key(self) -> bytes:
        """Of its mapping's `bindings`."""
        return self.destination + bytes((self.kind,))

    @property
    def protocol(self) -> int:
        return protocol_of(self.version)

    @property
    def source_port(self) -> int:
        return self.inside_id

    @property
    def destination_port(self) -> int:
        return self.inside_id

    def expires(self, now: float) -> float:
        """See router.flows.expiry. A table that gets crowded can bring the end of one without an
        answer forward to UNANSWERED_IDLE seconds from now."""
        if self.answered:
            return self.last + IDLE
        if self.mapping.shares.is_crowded:
            return self.last + UNANSWERED_IDLE
        return min(self.last + IDLE, now + UNANSWERED_IDLE)


def inside_key(source: bytes, destination: bytes, kind: int, identifier: int) -> bytes:
    """The key of a request; `kind` is its ICMP type."""
    return source + destination + bytes((kind, identifier >> 8, identifier & 0xFF))


class QueryTable(FlowTable[OutboundT, Binding[OutboundT]]):
    """The query flows of one family.

    limit: how many bindings at most.
    first: where in OUTSIDE_IDS to begin, so that a restarted router does not reuse identifiers
    of which replies may still be under way.
    is_local: whether a source is an address of this machine.
    """

    def __init__(
        self, limit: int, first: int = 0, is_local: Callable[[bytes], bool] = lambda _: True
    ) -> None:
        super().__init__()
        self.limit = limit
        self.shares = Shares()
        self._is_local = is_local
        self._mappings: dict[tuple[OutboundT, bytes, int], Mapping[OutboundT]] = {}
        self._owners: dict[int, Mapping[OutboundT]] = {}
        self._local_ids: dict[int, int] = {}
        self._expiry: ExpiryQueue[Binding[OutboundT]] = ExpiryQueue()
        self._free = NumberList(len(OUTSIDE_IDS), first % len(OUTSIDE_IDS))

    def answered(self, remote: bytes, kind: int, identifier: int) -> Binding[OutboundT] | None:
        """The binding of a reply, or of an error about a request, by its outside identifier;
        `kind` is the ICMP type of the request."""
        mapping = self._owners.get(identifier)
        return None if mapping is None else mapping.bindings.get(remote + bytes((kind,)))

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
        """A new binding for a request that has none; None when the table is full, or its source
        has its share."""
        if not self._has_room(source):
            self.expire(now, LOOKS)
            if not self._has_room(source):
                return None
        mapping = self._mapping(outbound, source, identifier)
        if mapping is None:
            return None
        ends = source, destination, address, outside_address
        binding = Binding(outbound, mapping, kind, *ends, tally, now)
        self._insert(binding)
        self.shares.take(source)
        mapping.bindings[binding.remote_key] = binding
        self._expiry.schedule(binding, now)
        return binding

    def expire(self, now: float, most: int = EVERY) -> bool:
        """End the bindings that have been idle for too long; whether more than `most` are due."""
        for binding in self._expiry.expired(now, most):
            self.end(binding)
        return self._expiry.has_due(now)

    def end(self, binding: Binding[OutboundT]) -> None:
        """End a binding; its mapping ends with its last one."""
        mapping = binding.mapping
        self._delete(binding)
        self.shares.give_back(binding.source)
        self._expiry.cancel(binding)
        del mapping.bindings[binding.remote_key]
        if not mapping.bindings:
            del self._mappings[mapping.key]
            if mapping.is_local:
                self._forget_local_id(mapping.inside_id)
            for outside_id in mapping.outside_ids:
                self._release(outside_id)

    def shrink(self) -> None:
        super().shrink()
        shrink(self._mappings, self._owners, self._local_ids)
        self.shares.shrink()

    def _has_room(self, source: bytes) -> bool:
        return self.shares.admits(source, self.limit - len(self.by_inside))

    def _mapping(
        self, outbound: OutboundT, source: bytes, identifier: int
    ) -> Mapping[OutboundT] | None:
        key = (outbound, source, identifier)
        mapping = self._mappings.get(key)
        if mapping is not None:
            return mapping
        is_local = self._is_local(source)
        if is_local:
            self._note_local_id(identifier)
        number = self._free.take()
        if number == NONE_LEFT:
            if is_local:
                self._forget_local_id(identifier)
            return None
        outside_id = OUTSIDE_IDS[number]
        mapping = Mapping(key, outside_id, self.shares, is_local=is_local)
        self._mappings[key] = self._owners[outside_id] = mapping
        if is_local:
            self._avoid_outside(identifier)
        return mapping

    def _avoid_outside(self, identifier: int) -> None:
        """Change the mapping that sends under what is now an inside identifier of this machine, if
        there is one."""
        older = self._owners.get(identifier)
        if older is None or older.outside_ids[-1] != identifier:
            return
        number = self._free.take()
        if number == NONE_LEFT:
            return
        older.outside_ids.append(OUTSIDE_IDS[number])
        self._owners[OUTSIDE_IDS[number]] = older
        if len(older.outside_ids) > 1 + FORMER:
            self._release(older.outside_ids.pop(0))

    def _release(self, outside_id: int) -> None:
        """It belongs to no mapping any more."""
        del self._owners[outside_id]
        if outside_id not in self._local_ids:
            self._free.give_back(outside_id - OUTSIDE_IDS.start)

    def _note_local_id(self, identifier: int) -> None:
        number = identifier - OUTSIDE_IDS.start
        if identifier in OUTSIDE_IDS and self._free.is_free(number):
            self._free.set_aside(number)
        self._local_ids[identifier] = self._local_ids.get(identifier, 0) + 1

    def _forget_local_id(self, identifier: int) -> None:
        self._local_ids[identifier] -= 1
        if self._local_ids[identifier]:
            return
        del self._local_ids[identifier]
        if identifier in OUTSIDE_IDS and identifier not in self._owners:
            self._free.give_back(identifier - OUTSIDE_IDS.start)
