"""TCP sockets."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from router.platform.base.connections import Resent
from router.policy.network import Interface

ANY_PORT: Final = 0
USUAL_HOP_LIMIT: Final = 0
"""That of the system."""


class ConnectFailure(NamedTuple):
    """Why an attempt to connect failed.

    error: an errno number, 0 when it succeeded.
    icmp: type, code and the 32 bits behind the checksum of the ICMP error that ended it, and
    `offender` the address that sent it; None where there was none.
    """

    error: int
    icmp: tuple[int, int, int] | None = None
    offender: bytes | None = None


class TcpInfo(NamedTuple):
    """The state of a connection as its socket reports it.

    segments    received, of any kind; modulo 2**32
    received    bytes received in order; the end of the stream counts as one
    silence     seconds since the last data or acknowledgement arrived; None where the system does
                not tell
    has_unacknowledged  whether something that was sent, or is to be, is not acknowledged yet
    round_trip  seconds, smoothed; None before the first sample
    resent      what was sent, and how much of it again
    """

    segments: int
    received: int
    silence: float | None
    has_unacknowledged: bool
    round_trip: float | None
    resent: Resent = Resent(0, 0)


class RelayBuffer(Protocol):
    """Bytes on their way from one TCP socket to another. held: how many.

    least_full: a fill with fewer bytes has taken all that the source had, unless it stopped at the
    end or at an urgent byte; 0 where that is not known.
    """

    held: int
    least_full: int

    def fill(self, source: socket.socket) -> int:
        """Take what the source has; 0 at its end. Only an empty buffer is filled.

        Raises BlockingIOError when there is nothing, OSError when the source is broken.
        """
        ...

    def drain(self, sink: socket.socket) -> None:
        """Send as much as the sink takes. Raises BlockingIOError, OSError."""
        ...

    def close(self) -> None: ...


class TcpSockets(Protocol):
    """TCP sockets, all of them non-blocking and without Nagle's delay, with urgent bytes in line.

    open_pipe: opens a buffer of two descriptors that copies nothing; raises OSError. None where the
    system has none.
    """

    open_pipe: Callable[[], RelayBuffer] | None

    def dialling(
        self, version: int, interface: Interface, port: int, hop_limit: int, traffic_class: int
    ) -> socket.socket:
        """A socket, bound to the interface, to connect with. Raises OSError.

        hop_limit: or USUAL_HOP_LIMIT; `failure` then knows no ICMP error.
        port: the source port, or ANY_PORT. Where it is known not to be free, the system chooses
        another; where that shows only then, connecting fails with EADDRNOTAVAIL or EADDRINUSE.
        """
        ...

    def connected(self, sock: socket.socket) -> None:
        """Give a socket the system's default hop limit again. Raises OSError."""
        ...

    def set_traffic_class(self, sock: socket.socket, traffic_class: int) -> None:
        """Of the segments to come, apart from the two bits of ECN, which are the system's own.
        Raises OSError."""
        ...

    def failure(self, sock: socket.socket) -> ConnectFailure:
        """The outcome of an attempt to connect that is over."""
        ...

    def has_lost_interface(self, sock: socket.socket) -> bool:
        """Whether the interface that a socket is bound to is gone for good."""
        ...

    def has_ended(self, sock: socket.socket) -> bool:
        """Whether the connection of a socket is over for the system, by a reset or by both ends,
        so that a request from the same port would begin another."""
        ...

    def is_listening(self, address: bytes, port: int, interface: int) -> bool:
        """Whether a program accepts connections to a local address, 4 or 16 bytes, and port, that
        come in by the interface of an index."""
        ...

    def tcp_info(self, sock: socket.socket) -> TcpInfo:
        """Raises OSError."""
        ...

    def probe(self, sock: socket.socket) -> None:
        """Send one keepalive probe to a peer that has acknowledged everything: at once when it has
        been silent for a second, else when it has. A connection that has ended is not probed."""
        ...

    def start_keepalive(self, sock: socket.socket) -> None:
        """Probe likewise, and repeat it at the system's interval: a peer that never answers breaks
        the connection. Of a socket for which `probe` was never called. A connection that has ended
        is not probed."""
        ...

    def stop_keepalive(self, sock: socket.socket) -> None:
        """Send no more probes; nothing happens where the connection has ended."""
        ...

    def is_at_mark(self, sock: socket.socket) -> bool:
        """Whether the next byte of a socket is an urgent one."""
        ...

    def listening(self, address: bytes) -> socket.socket:
        """A listener at an address of the TUN and some port, which accepts only connections whose
        packets are written into the TUN. Raises OSError."""
        ...
