"""UDP, ICMP and raw sockets, each bound to an interface."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol, TypeVar

from router.platform.base.descriptors import Bytes
from router.policy.network import Interface

T = TypeVar("T")
Done = Callable[[T | Exception], None]
"""Called with what was opened, or with PlatformError or OSError."""


class Arrived(NamedTuple):
    """Datagrams of one sender that arrived one after the other, with the same fields.

    sender      the endpoint, as the socket has it
    payloads    all of one length but for the last, which may be shorter; valid until the next
                call to any socket's `receive`
    """

    sender: bytes
    payloads: Sequence[Bytes]
    hop_limit: int
    traffic_class: int


class NetworkError(NamedTuple):
    """An ICMP error about a datagram that a socket sent, or an error of the socket itself.

    offender        the address that sent it, 4 or 16 bytes; None: the socket itself
    kind, code      ICMP type and code; unused for an error of the socket itself
    value           what the error carries: an MTU, a pointer
    destination, port    of the datagram
    payload         of the datagram, as much of it as the error quotes
    hop_limit, traffic_class    of the error when it arrived
    """

    offender: bytes | None
    kind: int
    code: int
    value: int
    destination: bytes
    port: int
    payload: bytes
    hop_limit: int
    traffic_class: int


class DatagramSocket(Protocol):
    """A UDP socket bound to an interface and a port, non-blocking; it belongs to one family.

    Becomes readable also when there is an error. All methods but `close` raise OSError, and
    BlockingIOError when there is nothing or no room at the moment; an error that has been
    reported is raised once and then found by `errors`.
    """

    most_segments: int
    """How many datagrams `send_run` takes; 1 on a system without segmentation offload."""

    def fileno(self) -> int: ...

    def send(self, payload: Bytes, address: tuple[str, int], /) -> object: ...

    def send_run(self, payloads: Bytes, size: int, address: tuple[str, int], /) -> object:
        """Send several at once, each of `size` bytes but for the last, which may be shorter."""
        ...

    def receive(self) -> Sequence[Arrived]:
        """What has arrived, a bounded number of datagrams."""
        ...

    def endpoint(self, sender: bytes) -> tuple[bytes, int]:
        """Address and port of a sender."""
        ...

    def errors(self) -> Iterator[NetworkError]:
        """Take the errors that were reported, oldest first. Raises nothing."""
        ...

    def set_hop_limit(self, hop_limit: int) -> None: ...

    def set_traffic_class(self, traffic_class: int) -> None: ...

    def set_dont_fragment(self, dont_fragment: bool) -> None:
        """Refuse what is too long for the path instead of fragmenting it; IPv4: send with DF."""
        ...

    def close(self) -> None: ...


class FrameSocket(Protocol):
    """Sends frames whose packet the system, or its hardware, has yet to cut; see
    router.wire.offload. What it sends passes by the rules of the host's firewall."""

    def send(self, frame: memoryview, size: int, destination: bytes) -> bool:
        """Send the first `size` bytes of a frame, as they are; whether that was possible: it is not
        while the link address of the next hop is unknown. Raises OSError."""
        ...

    def send_when_resolved(self, frame: bytes | bytearray, destination: bytes) -> None:
        """The same, but keep the frame while the link address is unknown, which the system is made
        to resolve, and send it by `forget_next_hops`; not for long, and not many. Raises
        OSError."""
        ...

    def next_hop(self, destination: bytes) -> bytes | None:
        """The neighbour that packets to a destination go to first; None where there is no route by
        this interface."""
        ...

    def forget_next_hops(self) -> None:
        """Routes or link addresses may have changed."""
        ...

    def close(self) -> None: ...


class Sockets(Protocol):
    """Opens sockets that send and receive by one interface only."""

    reports_errors: bool
    """Whether UDP sockets report ICMP errors about what they have sent, and TCP sockets those that
    have ended an attempt to connect. Else the ICMP sockets of the interface receive them."""

    def icmp_socket(self, version: int, interface: Interface, echo_ids: range) -> socket.socket:
        """A raw ICMP socket bound to the interface, non-blocking.

        It receives echo replies with an identifier in `echo_ids` and errors that quote such an
        echo request; all other errors too where nothing else reports them (`reports_errors`); else,
        where the system's own "host unreachable" does not reach the UDP socket that it is about
        (Linux, IPv4), that. For IPv4 it sends whole packets, header included;
        for IPv6 it reports hop limit and traffic class of what it receives. Raises OSError.
        """
        ...

    def udp_socket(
        self, version: int, interface: Interface, source: bytes, port: int
    ) -> DatagramSocket:
        """A UDP socket at an outside address, 4 or 16 bytes, and port. Where the address is
        unspecified, the system chooses it for each datagram.

        Raises OSError; with EADDRINUSE or EACCES another port may do.
        """
        ...

    def keep_ready(self) -> None:
        """From now on have UDP sockets at hand for flows to come. Raises PlatformError."""
        ...

    def raw_socket(
        self, version: int, interface: Interface, address: str, done: Done[socket.socket]
    ) -> None:
        """Call `done`, at the latest by GuardConnection.dispatch, with a socket, non-blocking, that
        sends whole packets, header included, whose source is `address`: routed as packets from
        there by the interface. Raises PlatformError, OSError; BlockingIOError where none is to be
        expected soon."""
        ...

    def frame_socket(
        self, version: int, interface: Interface, source: bytes, done: Done[FrameSocket | None]
    ) -> None:
        """The same with what sends frames from an address by the interface; None where the system
        or the link of the interface has no such thing."""
        ...
