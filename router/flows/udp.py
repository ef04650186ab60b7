"""UDP flows: the outside port of each inside endpoint, and which hosts may reply to it.

Theory of operation. A *mapping* stands for one inside (address, port) on one outbound and holds the
outside address and port that everything from there leaves by, whatever its destination:
endpoint-independent mapping (RFC 4787 REQ-1). Where the system sends to some destinations from
another of its addresses, there is one mapping for each of these. A *remote* is a host that a
mapping has sent to, and the permission for that host, from any port of its own, to send back:
address-dependent filtering (REQ-8). A *flow* is one (source, source port, destination, destination
port); the rules are looked up once for each.

Life of a remote, which ends with all its flows; a mapping ends with its last remote:

    what was sent to it            ends
    DNS alone                      DNS_IDLE seconds after a reply, EXCHANGE_IDLE after a query
                                   that has none
    one datagram or several        EXCHANGE_IDLE seconds after it, or after the last reply
    together, to well-known ports
    anything else                  IDLE seconds after the last datagram of either direction
    anything, without an answer,   UNANSWERED_IDLE seconds after the last datagram
    in a crowded table

Datagrams of both directions keep a remote alive (REQ-6), ICMP errors neither do that nor end
anything (REQ-12).

Always true: an outside address and port of an outbound belong to one mapping (REQ-3), which keeps
them until it ends, whatever the system prefers meanwhile; there are at most `mapping_limit`
mappings and `flow_limit` flows, of which each source has a share (router.flows.shares), and what
exists is never ended to make room for what is new (REQ-11); every operation on a packet costs the
logarithm of what is held, or less.

Must not know: sockets, rules. Time is an argument, in seconds. Addresses are bytes in network
order, 4 or 16 of them.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from collections.abc import Mapping as ReadOnly
from itertools import chain, islice
from sys import maxsize
from typing import Final, Generic, TypeVar

from router.flows.expiry import EVERY, NEVER, ExpiryQueue
from router.flows.flow import Flow as CommonFlow
from router.flows.flow import FlowTable, OutboundT
from router.flows.shares import Shares
from router.flows.tally import Tally
from router.wire import ip
from router.wire.udp import Envelope

IDLE: Final = 300.0
"""RFC 4787 REQ-5: 2 minutes at least, 5 recommended."""
DNS_PORT: Final = 53
DNS_IDLE: Final = 10.0
"""REQ-5 a allows less for well-known ports. Enough for a resolver that repeats its query by the
same port."""
EXCHANGE_IDLE: Final = 30.0
"""Likewise. As long as Linux tracks a UDP flow that is no stream (nf_conntrack_udp_timeout): more
than any client of a single question waits for its answer."""
UNANSWERED_IDLE: Final = 10.0
"""In a crowded table. Less than REQ-5 allows, which is for a NAT that has room."""
FLOW_LIMIT: Final = 65_536

WELL_KNOWN: Final = range(1024)
"""Those of this machine are of its own services, which may start while a mapping exists: not taken,
although RFC 4787 REQ-3 b prefers to replace one of them by another."""
OTHERS: Final = range(0x8000, 0x10000)
"""What replaces a port that is not available: above the ports that services listen on."""
MOST_TRIES: Final = 64
"""Ports that are tried before a flow is refused: each costs a system call."""
MOST_LOOKS: Final = 512
"""Ports of which is looked whether they are taken, before a flow is refused. Of a range of which a
tenth is free, all of these are taken once in 10^23 times."""
_STRIDE: Final = 7919
"""A prime, so that steps of it reach every port of a range."""
MOST_SENDERS: Final = 64
"""Ports of one remote whose envelope is cached."""

Socket = TypeVar("Socket")
"""What sends and receives for a mapping; only kept."""
Address = tuple[str, int]
"""An endpoint as sockets take it."""


class Mapping(Generic[OutboundT, Socket]):
    """One inside endpoint on one outbound. senders: the endpoints admitted so far, by the address
    that the socket reports."""

    __slots__ = (
        "outbound",
        "outside_address",
        "outside_port",
        "port",
        "remotes",
        "senders",
        "socket",
        "source",
    )

    def __init__(
        self,
        outbound: OutboundT,
        source: bytes,
        port: int,
        outside_address: bytes,
        outside_port: int,
        socket: Socket,
    ) -> None:
        self.outbound = outbound
        self.source = source
        self.port = port
        self.outside_address = outside_address
        self.outside_port = outside_port
        self.socket = socket
        self.remotes: dict[bytes, Remote[OutboundT, Socket]] = {}
        self.senders: dict[bytes, Sender[OutboundT, Socket]] = {}

    @property
    def version(self) -> int:
        return 4 if len(self.source) == 4 else 6

    def admit(self, sender: bytes, address: bytes, port: int) -> Sender[OutboundT, Socket] | None:
        """Admit an endpoint's datagrams, and cache it as `sender`; None if the mapping has not sent
        to its host."""
        remote = self.remotes.get(address)
        if remote is None:
            return None
        if len(remote.senders) >= MOST_SENDERS:
            remote.forget_senders()
        remote.senders.append(sender)
        flow = remote.flow_of(port)
        admitted = Sender(remote, Envelope(address, port, self.source, self.port), flow)
        self.senders[sender] = admitted
        return admitted


class Remote(Generic[OutboundT, Socket]):
    """A host that a mapping has sent to. The code that forwards sets `last_out` and `last_in`.

    flows: those to it, by its port. began: the time of the first datagram.
    """

    __slots__ = (
        "_table",
        "address",
        "began",
        "due",
        "flows",
        "last_in",
        "last_out",
        "mapping",
        "only_dns",
        "only_well_known",
        "senders",
    )

    def __init__(
        self,
        table: DatagramTable[OutboundT, Socket],
        mapping: Mapping[OutboundT, Socket],
        address: bytes,
        now: float,
    ) -> None:
        self._table = table
        self.mapping = mapping
        self.address = address
        self.flows: dict[int, Flow[OutboundT, Socket]] = {}
        self.senders: list[bytes] = []
        self.only_dns = self.only_well_known = True
        self.began = self.last_out = now
        self.last_in = float("-inf")
        self.due = NEVER

    def expires(self, now: float) -> float:
        """See router.flows.expiry. A reply can bring the end of DNS forward to DNS_IDLE seconds
        from now, and so can a table that gets crowded the end of what is unanswered."""
        if self.last_in < self.began:
            if self._table.is_crowded:
                return self.last_out + UNANSWERED_IDLE
            return min(self.last_out + self._idle, now + UNANSWERED_IDLE)
        if self.only_dns:
            if self.last_in >= self.last_out:
                return self.last_in + DNS_IDLE
            return min(self.last_out + EXCHANGE_IDLE, now + DNS_IDLE)
        return max(self.last_in, self.last_out) + self._idle

    @property
    def _idle(self) -> float:
        """Without an answer to DNS."""
        is_exchange = self.only_well_known and self.last_out == self.began
        return EXCHANGE_IDLE if is_exchange or self.only_dns else IDLE

    def flow_of(self, port: int) -> Flow[OutboundT, Socket]:
        """That what comes from a port counts for: the one to it; where there is none, the first."""
        return self.flows.get(port) or next(iter(self.flows.values()))

    def forget_senders(self) -> None:
        """Drop the cached endpoints; each is admitted anew."""
        for sender in self.senders:
            del self.mapping.senders[sender]
        self.senders.clear()


class Flow(CommonFlow[OutboundT], Generic[OutboundT, Socket]):
    """One pair of endpoints.

    address     the destination as sockets take it
    envelope    that of its datagrams
    size        of the last datagram sent, UDP header included, in bytes; set by the code that
                forwards
    """

    __slots__ = ("address", "envelope", "mapping", "remote", "size")

    def __init__(
        self,
        mapping: Mapping[OutboundT, Socket],
        remote: Remote[OutboundT, Socket],
        port: int,
        address: Address,
        tally: Tally,
        now: float,
    ) -> None:
        key = flow_key(mapping.source, remote.address, mapping.port, port)
        super().__init__(key, tally, now)
        self.mapping = mapping
        self.remote = remote
        self.address = address
        self.envelope = Envelope(mapping.source, mapping.port, remote.address, port)
        self.size = 0

    @property
    def protocol(self) -> int:
        return ip.UDP

    @property
    def source_port(self) -> int:
        return self.mapping.port

    @property
    def destination_port(self) -> int:
        return self.address[1]

    @property
    def outbound(self) -> OutboundT:
        return self.mapping.outbound

    @property
    def outside_address(self) -> bytes:
        return self.mapping.outside_address

    @property
    def last(self) -> float:
        """Of the last datagram to or from its remote, which flows to several ports share."""
        return max(self.remote.last_out, self.remote.last_in)


class Sender(Generic[OutboundT, Socket]):
    """An endpoint that replies, the envelope of its datagrams to the inside, and the flow that they
    count for."""

    __slots__ = ("envelope", "flow", "remote")

    def __init__(
        self,
        remote: Remote[OutboundT, Socket],
        envelope: Envelope,
        flow: Flow[OutboundT, Socket],
    ) -> None:
        self.remote = remote
        self.envelope = envelope
        self.flow = flow


def flow_key(source: bytes, destination: bytes, source_port: int, destination_port: int) -> bytes:
    """The key of a datagram: addresses and ports as they stand in its packet, one behind the
    other."""
    return (
        source + destination + source_port.to_bytes(2, "big") + destination_port.to_bytes(2, "big")
    )


def outside_ports(inside_port: int, first: int, taken: Container[int]) -> Iterator[int]:
    """The outside ports to try for an inside port, best first, at most MOST_TRIES.

    The port itself where it is not well-known, then others of its parity (RFC 4787 REQ-4). `first`
    is where among those to begin, any number; `taken` are ports that are not worth trying.
    MOST_LOOKS are looked at.
    """
    own = [] if inside_port in WELL_KNOWN else [inside_port]
    same_parity = OTHERS[inside_port & 1 :: 2]
    steps = (first + number * _STRIDE for number in range(MOST_LOOKS))
    others = (same_parity[step % len(same_parity)] for step in steps)
    candidates = chain(own, (port for port in others if port != inside_port))
    return islice((port for port in candidates if port not in taken), MOST_TRIES)


class DatagramTable(FlowTable[OutboundT, Flow[OutboundT, Socket]], Generic[OutboundT, Socket]):
    """The UDP flows of both families.

    close: called with the socket of each mapping that has ended.
    """

    def __init__(
        self, mapping_limit: int, close: Callable[[Socket], None], flow_limit: int = FLOW_LIMIT
    ) -> None:
        super().__init__()
        self.mapping_limit = mapping_limit
        self.flow_limit = flow_limit
        self.flow_shares, self.mapping_shares = Shares(), Shares()
        self._close_socket = close
        self._mappings: dict[tuple[OutboundT, bytes, int, bytes], Mapping[OutboundT, Socket]] = {}
        self._by_outside: dict[tuple[OutboundT, bytes], dict[int, Mapping[OutboundT, Socket]]] = {}
        self._expiry: ExpiryQueue[Remote[OutboundT, Socket]] = ExpiryQueue()

    @property
    def is_crowded(self) -> bool:
        """Whether what is unanswered has a short life."""
        return self.flow_shares.is_crowded or self.mapping_shares.is_crowded

    @property
    def mappings(self) -> int:
        return len(self._mappings)

    def mapping(
        self, outbound: OutboundT, source: bytes, port: int, outside_address: bytes
    ) -> Mapping[OutboundT, Socket] | None:
        """The mapping of an inside endpoint to an outside address, if there is one."""
        return self._mappings.get((outbound, source, port, outside_address))

    def outside(
        self, outbound: OutboundT, address: bytes
    ) -> ReadOnly[int, Mapping[OutboundT, Socket]]:
        """By outside port, the mappings to an outside address of an outbound."""
        return self._by_outside.get((outbound, address), {})

    def replied_to(
        self, remote: bytes, remote_port: int, inside: bytes, port: int
    ) -> Mapping[OutboundT, Socket] | None:
        """The mapping by which an endpoint outside can have sent to one inside; None if there is
        none, or more than one."""
        flow = self.by_inside.get(flow_key(inside, remote, port, remote_port))
        if flow is not None:
            return flow.mapping
        mappings = (
            self._mappings.get((outbound, inside, port, address))
            for outbound, address in self._by_outside
        )
        found = {
            mapping for mapping in mappings if mapping is not None and remote in mapping.remotes
        }
        return found.pop() if len(found) == 1 else None

    def has_room(
        self, source: bytes, mapping: Mapping[OutboundT, Socket] | None, free: int = maxsize
    ) -> bool:
        """Whether there may be one flow more of a source, of `mapping` or of a new one. free: how
        many more sockets there can be at present, whatever `mapping_limit` says."""
        if not self.flow_shares.admits(source, self.flow_limit - len(self.by_inside)):
            return False
        free = min(free, self.mapping_limit - len(self._mappings))
        return mapping is not None or self.mapping_shares.admits(source, free)

    def open(
        self,
        outbound: OutboundT,
        source: bytes,
        port: int,
        outside_address: bytes,
        outside_port: int,
        socket: Socket,
    ) -> Mapping[OutboundT, Socket]:
        """A mapping for an endpoint that has none to this address, still without flows: `begin`
        follows."""
        mapping = Mapping(outbound, source, port, outside_address, outside_port, socket)
        outside = self._by_outside.setdefault((outbound, outside_address), {})
        assert outside_port not in outside, "a port belongs to one mapping"
        outside[outside_port] = mapping
        self._mappings[outbound, source, port, outside_address] = mapping
        self.mapping_shares.take(source)
        return mapping

    def begin(
        self,
        mapping: Mapping[OutboundT, Socket],
        destination: bytes,
        port: int,
        address: Address,
        tally: Tally,
        now: float,
    ) -> Flow[OutboundT, Socket]:
        """A flow that does not exist yet, while there is room."""
        remote = mapping.remotes.get(destination)
        if remote is None:
            remote = mapping.remotes[destination] = Remote(self, mapping, destination, now)
        remote.only_dns &= port == DNS_PORT
        remote.only_well_known &= port in WELL_KNOWN
        flow = Flow(mapping, remote, port, address, tally, now)
        remote.forget_senders()  # the destination may be among them, counted to another flow
        remote.flows[port] = flow
        self._insert(flow)
        self.flow_shares.take(mapping.source)
        self._expiry.schedule(remote, now)
        return flow

    def expire(self, now: float, most: int = EVERY) -> bool:
        """End the remotes that have expired, and the mappings of which they were the last; whether
        more than `most` are due, or have more flows than that."""
        for remote in self._expiry.expired(now, most):
            while remote.flows and most:
                most -= 1
                self._end(remote.flows.popitem()[1])
            if remote.flows:
                self._expiry.schedule(remote, now)
                return True
        return self._expiry.has_due(now)

    def end(self, flow: Flow[OutboundT, Socket]) -> None:
        """End a flow; its remote ends with its last one, and so does its mapping."""
        del flow.remote.flows[flow.address[1]]
        self._end(flow)

    def _end(self, flow: Flow[OutboundT, Socket]) -> None:
        """The same for one that its remote has no more."""
        remote, mapping = flow.remote, flow.mapping
        self._delete(flow)
        self.flow_shares.give_back(mapping.source)
        remote.forget_senders()  # the destination may be among them, counted to this flow
        if remote.flows:
            return
        self._expiry.cancel(remote)
        del mapping.remotes[remote.address]
        if not mapping.remotes:
            self._close(mapping)

    def all(self) -> list[Mapping[OutboundT, Socket]]:
        return list(self._mappings.values())

    def _close(self, mapping: Mapping[OutboundT, Socket]) -> None:
        outbound, address = mapping.outbound, mapping.outside_address
        del self._mappings[outbound, mapping.source, mapping.port, address]
        self.mapping_shares.give_back(mapping.source)
        outside = self._by_outside[outbound, address]
        del outside[mapping.outside_port]
        if not outside:
            del self._by_outside[outbound, address]
        self._close_socket(mapping.socket)
