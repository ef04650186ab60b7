"""The Outbound protocol: what an outbound carries, and how.

The engine and the control socket use outbounds by this protocol alone. A further kind is one module
that implements `ManagedOutbound`, one reader of its policy (router.config.policies) and one entry
in `router.outbound.all.KINDS`.

Always true: an outbound decides nothing about rules. What it opens is bound to where it leads, so
that nothing it sends enters the TUN again. It belongs to one event loop; no method waits, but that
`refresh` may wait for the privileged part of the platform.

Must not know: flow tables, the TUN device, how rules are written.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from router.flows.icmp import Binding
from router.outbound.direct import DirectSender
from router.platform.base.descriptors import Bytes, HasFileno
from router.platform.base.facts import NetworkPath
from router.platform.base.sockets import Arrived, NetworkError
from router.platform.base.tcp import ConnectFailure
from router.policy.interfaces import OutboundFacts
from router.policy.network import Interface
from router.wire import ip


class DialRequest(NamedTuple):
    """A TCP connection to open.

    destination: 4 or 16 bytes, in network order.
    hop_limit, traffic_class: of its first segment as it leaves; or USUAL_HOP_LIMIT.
    source_port: that of the application, to be kept where it is free.
    """

    destination: bytes
    port: int
    hop_limit: int
    traffic_class: int
    source_port: int

    @property
    def version(self) -> int:
        return 4 if len(self.destination) == 4 else 6


class Dial(Protocol):
    """An attempt to open a connection. It ends by `release` or `abandon`, one of them, once."""

    @property
    def source_port(self) -> int:
        """The local port from which it sends a request to the destination, the same until it ends;
        0 where it sends none there."""
        ...

    @property
    def is_connected(self) -> bool: ...

    @property
    def failure(self) -> ConnectFailure | None:
        """Why the attempt has failed; None while it has not. Reading it clears it."""
        ...

    @property
    def sock(self) -> socket.socket:
        """The socket that carries the connection."""
        ...

    def release(self) -> socket.socket:
        """The connected socket, now the caller's, for which `changed` is still called: the loop
        watches it."""
        ...

    def abandon(self) -> None:
        """End the attempt, or reset the connection."""
        ...


class DatagramChannel(Protocol):
    """A UDP socket at one outside port, non-blocking, readable for datagrams and for errors.

    All methods but `close` and `sends_with` raise OSError, and BlockingIOError when there is
    nothing to read or no room to send; a reported error is raised once and then found by `errors`.

    most_segments: how many datagrams `send_run` takes; 1 where the system has no segmentation.
    """

    port: int
    most_segments: int

    def fileno(self) -> int: ...

    @property
    def is_lost(self) -> bool:
        """Whether nothing can arrive by it any more, as it sends from an address that is gone and
        is not the one that the outbound was asked for."""
        ...

    def sends_with(self, hop_limit: int, traffic_class: int, dont_fragment: int) -> bool:
        """Whether the next datagram leaves with these header fields."""
        ...

    def send_with(self, hop_limit: int, traffic_class: int, dont_fragment: int) -> None:
        """Set the header fields of the datagrams to come."""
        ...

    @property
    def send(self) -> Callable[[Bytes, tuple[str, int]], object]:
        """`send(payload, (address, port))`."""
        ...

    @property
    def send_run(self) -> Callable[[Bytes, int, tuple[str, int]], object]:
        """`send_run(payloads, size, (address, port))` sends several datagrams of `size` bytes, of
        which the last may be shorter."""
        ...

    @property
    def receive(self) -> Callable[[], Sequence[Arrived]]:
        """What has arrived, a bounded number of datagrams."""
        ...

    @property
    def endpoint(self) -> Callable[[bytes], tuple[bytes, int]]:
        """Address and port of an `Arrived.sender`."""
        ...

    @property
    def errors(self) -> Callable[[], Iterator[NetworkError]]:
        """Take the reported errors, oldest first. Raises nothing."""
        ...

    @property
    def close(self) -> Callable[[], None]: ...


class QueryChannel(Protocol):
    """What carries the ICMP queries of one family, and receives answers and ICMP errors.

    There is one for each outbound and family. `outbound`: the one that it belongs to.
    """

    version: int
    outbound: Outbound

    def fileno(self) -> int: ...

    def send(
        self,
        query: bytes | bytearray,
        start: int,
        binding: Binding[Any],
        *,
        reassembled: bool = False,
    ) -> None:
        """Send a query, a whole packet, with the outside identifier of its binding. start: where in
        it ICMP begins; reassembled: whether it came in fragments. Raises OSError."""
        ...

    def send_error(self, packet: bytes, address: str) -> None:
        """Send an ICMP error, given as a whole packet from our address. Raises OSError."""
        ...

    def receive(self) -> ip.Packet | None:
        """The next packet that the filter passed. An IPv6 packet has the destination `::`. None:
        it was for another socket of the outbound, which has it.

        Raises BlockingIOError when there is none, OSError, and ip.Malformed.
        """
        ...


ObstacleOf = Callable[[str], str | None]
"""By interface: why packets may not begin to leave by it unchanged, in one clause; None if they
may."""


class Outbound(Protocol):
    """What a policy of type direct or vpn leads to, and carries its packets."""

    @property
    def up(self) -> bool:
        """Whether it carries anything at present."""
        ...

    def reaches(self, version: int) -> bool:
        """Whether it has a way for a family at present."""
        ...

    def carries(self, version: int, protocol: int) -> bool:
        """Whether it carries an IP protocol of a family that it reaches."""
        ...

    def dial(self, request: DialRequest, changed: Callable[[int], None]) -> Dial:
        """Open a connection, which may take several round trips.

        changed: called from the loop whenever the attempt may have got further, with what happened
        to its socket (READABLE, WRITABLE, BROKEN of router.platform.base).
        Raises OSError when the attempt fails at once.
        """
        ...

    def open_datagrams(self, version: int, source: bytes, ports: Iterator[int]) -> DatagramChannel:
        """A channel at an address of the outbound, as `path` gives it, and at the first of `ports`
        that is free there. Raises OSError."""
        ...

    def queries(self, version: int) -> QueryChannel | None:
        """The channel for ICMP queries of a family; None where they are not carried."""
        ...

    def path(self, version: int, address: str) -> NetworkPath:
        """The path MTU and the source address towards an address."""
        ...

    @property
    def facts(self) -> OutboundFacts | None:
        """What routes depend on; None while it is down."""
        ...

    def sends_from(self, address: bytes) -> bool:
        """Whether packets from an address of this machine leave by it unchanged, which `owns` it:
        one that routes of several interfaces name as their source leaves by one of them."""
        ...

    def sender(self, version: int) -> DirectSender | None:
        """What sends packets of a family unchanged that have another source; None where there is no
        such thing. Raises OSError, PlatformError."""
        ...

    def obstacle(self, of_interface: ObstacleOf) -> str | None:
        """Why no packet of this machine may begin to leave by it unchanged, in one clause; None if
        they may. of_interface: the obstacle at an interface."""
        ...

    def owns(self, address: bytes) -> bool:
        """Whether an address, 4 or 16 bytes, is one that its packets can have as their source."""
        ...

    def has_lost(self, sock: socket.socket) -> bool:
        """Whether nothing can arrive any more for a socket that `dial` has opened."""
        ...

    def has_lost_address(self, address: bytes) -> bool:
        """Whether nothing can arrive any more for an address that `path` has given."""
        ...

    @property
    def leaves_by(self) -> str | None:
        """For people: the interface that its packets leave by, or several, joined by commas; None
        while it is down."""
        ...

    @property
    def found(self) -> Sequence[str]:
        """What it was found not to do at present, a clause each; for people."""
        ...

    @property
    def on_empty_end(self) -> Callable[[Callable[[bool], None]], None] | None:
        """What decides about a connection that has ended before a byte came from its far end: it
        calls back, at once or later, with whether the application is to see a reset, since the
        connection may never have existed. None where one that `dial` has opened did exist."""
        ...

    def describe(self) -> str:
        """In a few words for people: how it leaves, and from which addresses."""
        ...


def source_towards(outbound: Outbound, version: int, address: str) -> bytes:
    """The source of a flow that begins; unspecified where the system has no route, so that the
    attempt to send reports why."""
    return outbound.path(version, address).source or bytes(4 if version == 4 else 16)


class ManagedOutbound(Outbound, Protocol):
    """An outbound as `router.outbound.all` keeps it."""

    def refresh(self, present: Mapping[str, Interface]) -> frozenset[int] | None:
        """Follow the system's present interfaces. The families of which no flow can be answered any
        more; None when nothing has changed."""
        ...

    def why_down(self) -> str:
        """One clause that names what it lacks."""
        ...

    def close(self) -> None: ...


class ChannelWatcher(Protocol):
    """What reads from the query channels that outbounds open."""

    def opened(self, channel: QueryChannel) -> None: ...

    def closing(self, channel: QueryChannel) -> None: ...


class ChangeWatcher(Protocol):
    """The part of the event loop that sockets of outbounds need; see router.engine.loop."""

    def watch_changes(self, source: HasFileno, changed: Callable[[int], None]) -> None: ...

    def forget_changes(self, source: HasFileno) -> None: ...

    def report_readable(self, source: HasFileno) -> None: ...

    def call_soon(self, callback: Callable[[], None]) -> None: ...


class NatEndpoint(NamedTuple):
    """The outside of a binding or mapping: the outbound, the source address there, and the outside
    identifier or port."""

    outbound: Outbound
    address: bytes
    number: int


class Change(NamedTuple):
    """An outbound after a change of it, or of this machine's addresses.

    lost: the families of which no flow can be answered any more, as the interface is gone or
    replaced; other flows end where their own address is gone (`has_lost`, `has_lost_address`).
    differs: whether the outbound itself has changed.
    """

    outbound: Outbound
    lost: frozenset[int]
    differs: bool = True
