"""The UDP flows of both families; see router.flows.udp."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping as ReadOnly
from sys import maxsize
from typing import Final, Generic

from router.flows.expiry import EVERY, ExpiryQueue
from router.flows.flow import FlowTable, OutboundT
from router.flows.shares import Shares
from router.flows.shrinking import shrink
from router.flows.tally import Tally
from router.flows.udp.flow import DNS_PORT, Address, Flow, Mapping, Remote, Socket, flow_key
from router.flows.udp.ports import WELL_KNOWN

FLOW_LIMIT: Final = 65_536


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

    def shrink(self) -> None:
        super().shrink()
        shrink(self._mappings, *self._by_outside.values())
        self.flow_shares.shrink()
        self.mapping_shares.shrink()

    def holds_many(self, source: bytes) -> bool:
        """Whether a source has more flows than any source may have."""
        return self.flow_shares.holds_many(source)

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
