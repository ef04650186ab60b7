"""UDP flows: which datagram leaves by which port, and whose answers come in.

Theory of operation. A *mapping* stands for one inside (address, port) on one way out and holds the
outside port that everything from there leaves by, whatever its destination: endpoint-independent
mapping (RFC 4787 REQ-1). A *remote* is a host that a mapping has sent to, and the permission for
that host, from any port of its own, to send back: address-dependent filtering (REQ-8). A *flow* is
one (source, source port, destination, destination port); the rules are asked once for each.

Life of a remote, which ends with all its flows; a mapping ends with its last remote:

    asked      sent to, no answer since           ends IDLE seconds after the last datagram
    answered   has answered since the last one    likewise; DNS_IDLE seconds after the answer if
                                                  nothing but DNS was asked of it

Datagrams of both directions keep a remote alive (REQ-6), ICMP errors neither do that nor end
anything (REQ-12).

Always true: an outside port of a way out and family belongs to one mapping (REQ-3); there are at
most `mapping_limit` mappings and `flow_limit` flows, and what exists is never ended to make room
for what is new (REQ-11).

Must not know: sockets, rules. Time is an argument, in seconds. Addresses are bytes in network
order, 4 or 16 of them.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from heapq import heappop, heappush
from itertools import chain, count, islice
from typing import Final, Generic, TypeVar

from router.flows.tally import Tally
from router.wire.udp import Envelope

IDLE: Final = 300.0
"""RFC 4787 REQ-5: 2 minutes at least, 5 recommended."""
DNS_PORT: Final = 53
DNS_IDLE: Final = 10.0
"""REQ-5 lets well-known ports have less. Enough for a resolver that asks again by the same port."""
FLOW_LIMIT: Final = 65_536

WELL_KNOWN: Final = range(1024)
"""Ports of this machine's own services, which may start while a mapping lives: not taken, although
RFC 4787 REQ-3 b would rather have one of them replaced by another."""
OTHERS: Final = range(0x8000, 0x10000)
"""Where a port that cannot be had is replaced from: above what services listen on."""
MOST_TRIES: Final = 64
"""Ports that are tried before a flow is refused: each costs a system call."""
_STRIDE: Final = 7919
"""A prime, so that steps of it reach every port of a range."""
MOST_SENDERS: Final = 64
"""Ports of one remote whose envelope is remembered."""

OutboundT = TypeVar("OutboundT")
"""Whatever stands for a way out; only compared."""
Socket = TypeVar("Socket")
"""Whatever sends and receives for a mapping; only kept."""
Address = tuple[str, int]
"""An endpoint as sockets are told it."""


class Mapping(Generic[OutboundT, Socket]):
    """One inside endpoint on one way out. `senders`: those who have been let in, by what
    the socket calls them."""

    __slots__ = ("outbound", "outside_port", "port", "remotes", "senders", "socket", "source")

    def __init__(
        self, outbound: OutboundT, source: bytes, port: int, outside_port: int, socket: Socket
    ) -> None:
        self.outbound = outbound
        self.source = source
        self.port = port
        self.outside_port = outside_port
        self.socket = socket
        self.remotes: dict[bytes, Remote[OutboundT, Socket]] = {}
        self.senders: dict[bytes, Sender[OutboundT, Socket]] = {}

    @property
    def version(self) -> int:
        return 4 if len(self.source) == 4 else 6

    def admit(self, sender: bytes, address: bytes, port: int) -> Sender[OutboundT, Socket] | None:
        """Let an endpoint's datagrams in from now on, and remember it as `sender`; None if its
        host has not been sent to."""
        remote = self.remotes.get(address)
        if remote is None:
            return None
        if len(remote.senders) >= MOST_SENDERS:
            remote.forget_senders()
        remote.senders.append(sender)
        tally = remote.tally_of(port)
        admitted = Sender(remote, Envelope(address, port, self.source, self.port), tally)
        self.senders[sender] = admitted
        return admitted


class Remote(Generic[OutboundT, Socket]):
    """A host that a mapping has sent to. `last_out` and `last_in` are set by whoever forwards.

    flows: those to it, by its port.
    """

    __slots__ = ("address", "flows", "last_in", "last_out", "mapping", "only_dns", "senders")

    def __init__(self, mapping: Mapping[OutboundT, Socket], address: bytes, now: float) -> None:
        self.mapping = mapping
        self.address = address
        self.flows: dict[int, Flow[OutboundT, Socket]] = {}
        self.senders: list[bytes] = []
        self.only_dns = True
        self.last_out = now
        self.last_in = float("-inf")

    @property
    def ends(self) -> float:
        """When, if nothing more is sent or received."""
        if self.last_in >= self.last_out:
            return self.last_in + (DNS_IDLE if self.only_dns else IDLE)
        return self.last_out + IDLE

    def tally_of(self, port: int) -> Tally:
        """For what comes from a port: that of the flow to it; where there is none, the first's."""
        return (self.flows.get(port) or next(iter(self.flows.values()))).tally

    def forget_senders(self) -> None:
        """Let them be admitted anew."""
        for sender in self.senders:
            del self.mapping.senders[sender]
        self.senders.clear()


class Flow(Generic[OutboundT, Socket]):
    """One pair of endpoints.

    address     the destination as sockets take it
    envelope    that of its datagrams
    size        of the last datagram sent, UDP header included, in bytes; set by whoever forwards
    """

    __slots__ = ("address", "envelope", "key", "mapping", "remote", "size", "tally")

    def __init__(
        self,
        mapping: Mapping[OutboundT, Socket],
        remote: Remote[OutboundT, Socket],
        port: int,
        address: Address,
        tally: Tally,
    ) -> None:
        self.mapping = mapping
        self.remote = remote
        self.address = address
        self.envelope = Envelope(mapping.source, mapping.port, remote.address, port)
        self.tally = tally
        self.key = flow_key(mapping.source, remote.address, mapping.port, port)
        self.size = 0


class Sender(Generic[OutboundT, Socket]):
    """An endpoint that answers, and the envelope of its datagrams to the inside."""

    __slots__ = ("envelope", "remote", "tally")

    def __init__(self, remote: Remote[OutboundT, Socket], envelope: Envelope, tally: Tally) -> None:
        self.remote = remote
        self.envelope = envelope
        self.tally = tally


def flow_key(source: bytes, destination: bytes, source_port: int, destination_port: int) -> bytes:
    """What a datagram is found by: the bytes as they stand in its packet, one behind the other."""
    return (
        source + destination + source_port.to_bytes(2, "big") + destination_port.to_bytes(2, "big")
    )


def outside_ports(inside_port: int, first: int, taken: Container[int]) -> Iterator[int]:
    """The outside ports to try for an inside port, best first, at most MOST_TRIES.

    The port itself where it is not well-known, then others of its parity (RFC 4787 REQ-4). `first`
    is where among those to begin, any number; `taken` are ports that are not worth trying.
    """
    own = [] if inside_port in WELL_KNOWN else [inside_port]
    same_parity = OTHERS[inside_port & 1 :: 2]
    steps = (first + number * _STRIDE for number in range(len(same_parity)))
    others = (same_parity[step % len(same_parity)] for step in steps)
    candidates = chain(own, (port for port in others if port != inside_port))
    return islice((port for port in candidates if port not in taken), MOST_TRIES)


class DatagramTable(Generic[OutboundT, Socket]):
    """The UDP flows of both families."""

    def __init__(self, mapping_limit: int, flow_limit: int = FLOW_LIMIT) -> None:
        self.mapping_limit = mapping_limit
        self.flow_limit = flow_limit
        self.by_inside: dict[bytes, Flow[OutboundT, Socket]] = {}
        self._mappings: dict[tuple[OutboundT, bytes, int], Mapping[OutboundT, Socket]] = {}
        self._by_outside: dict[tuple[OutboundT, int], dict[int, Mapping[OutboundT, Socket]]] = {}
        self._due: list[tuple[float, int, Remote[OutboundT, Socket]]] = []
        self._order = count()

    def __len__(self) -> int:
        return len(self.by_inside)

    @property
    def mappings(self) -> int:
        return len(self._mappings)

    def mapping(
        self, outbound: OutboundT, source: bytes, port: int
    ) -> Mapping[OutboundT, Socket] | None:
        """The mapping of an inside endpoint, if it has one."""
        return self._mappings.get((outbound, source, port))

    def outside(self, outbound: OutboundT, version: int) -> dict[int, Mapping[OutboundT, Socket]]:
        """By outside port, the mappings of a way out and family; not to be changed."""
        return self._by_outside.setdefault((outbound, version), {})

    def answered(
        self, remote: bytes, remote_port: int, inside: bytes, port: int
    ) -> Mapping[OutboundT, Socket] | None:
        """The mapping by which an endpoint outside can have sent to one inside; None if there is
        none, or if it can't be told."""
        flow = self.by_inside.get(flow_key(inside, remote, port, remote_port))
        if flow is not None:
            return flow.mapping
        mappings = (
            self._mappings.get((outbound, inside, port)) for outbound, _ in self._by_outside
        )
        found = {
            mapping for mapping in mappings if mapping is not None and remote in mapping.remotes
        }
        return found.pop() if len(found) == 1 else None

    def has_room(self, mapping: Mapping[OutboundT, Socket] | None) -> bool:
        """Whether there may be one flow more, of `mapping` or of a new one."""
        if len(self.by_inside) >= self.flow_limit:
            return False
        return mapping is not None or len(self._mappings) < self.mapping_limit

    def open(
        self, outbound: OutboundT, source: bytes, port: int, outside_port: int, socket: Socket
    ) -> Mapping[OutboundT, Socket]:
        """A mapping for an endpoint that has none, still without flows: `begin` follows."""
        mapping = Mapping(outbound, source, port, outside_port, socket)
        outside = self.outside(outbound, mapping.version)
        assert outside_port not in outside, "a port belongs to one mapping"
        outside[outside_port] = self._mappings[outbound, source, port] = mapping
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
            remote = mapping.remotes[destination] = Remote(mapping, destination, now)
            self._look_again(remote, next(self._order), now, port == DNS_PORT)
        remote.only_dns &= port == DNS_PORT
        flow = Flow(mapping, remote, port, address, tally)
        tally.flows += 1
        remote.forget_senders()  # one of them may be whom this flow is to
        remote.flows[port] = flow
        self.by_inside[flow.key] = flow
        return flow

    def expire(self, now: float) -> list[Mapping[OutboundT, Socket]]:
        """End the remotes whose time is over; the mappings that ended with them.

        Costs no more than the remotes that were due since the last call.
        """
        ended: list[Mapping[OutboundT, Socket]] = []
        due = self._due
        while due and due[0][0] <= now:
            _, order, remote = heappop(due)
            mapping = remote.mapping
            if mapping.remotes.get(remote.address) is not remote:
                continue
            if remote.ends > now:
                self._look_again(remote, order, now, remote.only_dns)
                continue
            self._end(remote)
            if not mapping.remotes:
                self._close(mapping)
                ended.append(mapping)
        return ended

    def remove(
        self, outbound: OutboundT, versions: Container[int]
    ) -> list[Mapping[OutboundT, Socket]]:
        """End all flows of a way out that is gone for these families; its mappings."""
        leaving = [
            mapping
            for mapping in self._mappings.values()
            if mapping.outbound == outbound and mapping.version in versions
        ]
        for mapping in leaving:
            for remote in list(mapping.remotes.values()):
                self._end(remote)
            self._close(mapping)
        return leaving

    def end(self, flow: Flow[OutboundT, Socket]) -> Mapping[OutboundT, Socket] | None:
        """End one flow; its mapping, if that has ended with it."""
        remote, mapping = flow.remote, flow.mapping
        if len(remote.flows) > 1:
            flow.tally.flows -= 1
            del self.by_inside[flow.key]
            del remote.flows[flow.address[1]]
            remote.forget_senders()  # one of them may be whom this flow was to
            return None
        self._end(remote)
        if mapping.remotes:
            return None
        self._close(mapping)
        return mapping

    def all(self) -> list[Mapping[OutboundT, Socket]]:
        return list(self._mappings.values())

    def _look_again(
        self, remote: Remote[OutboundT, Socket], order: int, now: float, soon: bool
    ) -> None:
        """An answer can bring the end of DNS forward, so that is looked at more often."""
        at = min(remote.ends, now + DNS_IDLE) if soon else remote.ends
        heappush(self._due, (at, order, remote))

    def _end(self, remote: Remote[OutboundT, Socket]) -> None:
        for flow in remote.flows.values():
            flow.tally.flows -= 1
            del self.by_inside[flow.key]
        remote.forget_senders()
        del remote.mapping.remotes[remote.address]

    def _close(self, mapping: Mapping[OutboundT, Socket]) -> None:
        del self._mappings[mapping.outbound, mapping.source, mapping.port]
        del self._by_outside[mapping.outbound, mapping.version][mapping.outside_port]
