"""One inside endpoint, the hosts that it has sent to, and its flows; see router.flows.udp.

Must not know: the other endpoints.
"""

from __future__ import annotations

from typing import Final, Generic, Protocol, TypeVar

from router.flows.expiry import NEVER
from router.flows.flow import Flow as CommonFlow
from router.flows.flow import OutboundT
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
MOST_SENDERS: Final = 64
"""Ports of one remote whose envelope is cached."""

Socket = TypeVar("Socket")
"""What sends and receives for a mapping; only kept."""
Address = tuple[str, int]
"""An endpoint as sockets take it."""


class HasCrowds(Protocol):
    """A table. is_crowded: whether what is unanswered has a short life."""

    @property
    def is_crowded(self) -> bool: ...

    def holds_many(self, source: bytes) -> bool: ...


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
        table: HasCrowds,
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
            holds_many = self._table.holds_many(self.mapping.source)
            idle = EXCHANGE_IDLE if holds_many else self._idle
            return min(self.last_out + idle, now + UNANSWERED_IDLE)
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
