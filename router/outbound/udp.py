"""UDP out by one interface: a socket at one outside port.

Always true: every datagram leaves with its own hop limit, traffic class and don't-fragment flag. A
socket option is set whenever a field differs from that of the datagram before: a system call where
an application changes the field, none where it does not.

Must not know: mappings, and which flow a datagram belongs to.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

from router.platform.base.descriptors import Bytes
from router.platform.base.sockets import Arrived, DatagramSocket, NetworkError
from router.policy.network import Interface

TRY_ANOTHER_PORT: Final = frozenset({errno.EADDRINUSE, errno.EACCES})
UNKNOWN: Final = -1


class SocketDatagrams:
    """See DatagramChannel."""

    is_lost = False

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
        self.close: Callable[[], None] = sock.close

    def sends_with(self, hop_limit: int, traffic_class: int, dont_fragment: int) -> bool:
        return (
            hop_limit == self._hop_limit
            and traffic_class == self._traffic_class
            and dont_fragment == self._dont_fragment
        )

    def send_with(self, hop_limit: int, traffic_class: int, dont_fragment: int) -> None:
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
    """The part of Sockets that this module needs; see router.platform.base.sockets."""

    def udp_socket(
        self, version: int, interface: Interface, source: bytes, port: int
    ) -> DatagramSocket: ...


def open_at_a_port(
    system: OpensUdp, version: int, interface: Interface, source: bytes, ports: Iterator[int]
) -> tuple[DatagramSocket, int]:
    """A socket bound to the interface and to `source`, at the first of `ports` that is free; and
    the port. Raises OSError."""
    for port in ports:
        try:
            return system.udp_socket(version, interface, source, port), port
        except OSError as error:
            if error.errno not in TRY_ANOTHER_PORT:
                raise
    raise OSError(errno.EADDRINUSE, "no port is free")
