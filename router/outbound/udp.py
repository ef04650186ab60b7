"""UDP out by one interface: a socket for each inside endpoint and way out.

Always true: every datagram leaves with its own hop limit, traffic class and don't-fragment, which
the socket is told whenever they differ from the last one's. That is one system call where an
application changes them, and none where it does not.

Must not know: who sends, and which flow a datagram belongs to.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

from router.outbound.all import Outbound
from router.outbound.descriptors import Descriptors
from router.platform.base.descriptors import Bytes, HasFileno
from router.platform.base.sockets import Arrived, DatagramSocket, NetworkError
from router.policy.network import Interface

TRY_ANOTHER_PORT: Final = frozenset({errno.EADDRINUSE, errno.EACCES, errno.EADDRNOTAVAIL})
UNKNOWN: Final = -1


class MappingSocket:
    """A socket at an outside port, and what it sends with at present."""

    def __init__(self, sock: DatagramSocket, port: int) -> None:
        self.port = port
        self.fileno = sock.fileno
        self.most_segments = sock.most_segments
        self._socket = sock
        self._hop_limit = self._traffic_class = self._dont_fragment = UNKNOWN
        self.send: Callable[[Bytes, tuple[str, int]], object] = sock.send
        self.send_run: Callable[[Bytes, int, tuple[str, int]], object] = sock.send_run
        self.receive: Callable[[], Sequence[Arrived]] = sock.receive
        self.endpoint: Callable[[bytes], tuple[bytes, int]] = sock.endpoint
        self.errors: Callable[[], Iterator[NetworkError]] = sock.errors
        self.close = sock.close

    def sends_with(self, hop_limit: int, traffic_class: int, dont_fragment: int) -> bool:
        """Whether that is what the next datagram leaves with."""
        return (
            hop_limit == self._hop_limit
            and traffic_class == self._traffic_class
            and dont_fragment == self._dont_fragment
        )

    def send_with(self, hop_limit: int, traffic_class: int, dont_fragment: int) -> None:
        """From the next datagram on. Raises OSError."""
        if hop_limit != self._hop_limit:
            self._socket.set_hop_limit(hop_limit)
            self._hop_limit = hop_limit
        if traffic_class != self._traffic_class:
            self._socket.set_traffic_class(traffic_class)
            self._traffic_class = traffic_class
        if dont_fragment != self._dont_fragment:
            self._socket.set_dont_fragment(bool(dont_fragment))
            self._dont_fragment = dont_fragment


class OpensUdp(Protocol):
    """The part of a system that this module needs; see System."""

    def udp_socket(self, version: int, interface: Interface, port: int) -> DatagramSocket: ...


class UdpSockets:
    """Opens and closes the sockets, and has them waited for.

    watch, forget: of the event loop. limit: how many there may be at a time; descriptors: theirs
    are taken from there.
    """

    def __init__(
        self,
        system: OpensUdp,
        watch: Callable[[HasFileno, Callable[[float], None]], None],
        forget: Callable[[HasFileno], None],
        limit: int,
        descriptors: Descriptors,
    ) -> None:
        self.limit = limit
        self.watch = watch
        """`watch(egress, readable)` calls `readable(now)` whenever there is something to read."""
        self._system = system
        self._forget = forget
        self._descriptors = descriptors

    def open(self, outbound: Outbound, version: int, ports: Iterator[int]) -> MappingSocket:
        """A socket at the first of `ports` that is free. Raises OSError."""
        if not self._descriptors.take(1):
            raise OSError(errno.EMFILE, "no descriptor is left for one more flow")
        try:
            return self._open(outbound.interfaces[version], version, ports)
        except OSError:
            self._descriptors.give_back(1)
            raise

    def _open(self, interface: Interface, version: int, ports: Iterator[int]) -> MappingSocket:
        for port in ports:
            try:
                return MappingSocket(self._system.udp_socket(version, interface, port), port)
            except OSError as error:
                if error.errno not in TRY_ANOTHER_PORT:
                    raise
        raise OSError(errno.EADDRINUSE, "no port is free")

    def close(self, sock: MappingSocket) -> None:
        """Not while its loop is in the round in which it may be readable."""
        self._forget(sock)
        sock.close()
        self._descriptors.give_back(1)
