"""UDP sockets that leave by one interface only.

xnu keeps no ICMP errors for a socket that is not connected (netinet/udp_usrreq.c:986 looks the
socket up by both of its ends): they arrive at the raw ICMP socket of the interface alone, and are
taken from there by what reads it (router.outbound.reported).

Always true: a datagram that has arrived by another interface is discarded.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from router.platform.base.descriptors import Bytes
from router.platform.base.sockets import Arrived, NetworkError
from router.platform.darwin.arrival import SPACE, ControlMessage, interface_of
from router.platform.darwin.constants import (
    IP_BOUND_IF,
    IP_DONTFRAG,
    IP_PKTINFO,
    IP_RECVTOS,
    IP_RECVTTL,
    IP_TOS,
    IP_TTL,
    IPV6_BOUND_IF,
    IPV6_DONTFRAG,
    IPV6_HOPLIMIT,
    IPV6_RECVHOPLIMIT,
    IPV6_RECVPKTINFO,
    IPV6_RECVTCLASS,
    IPV6_TCLASS,
    IPV6_UNICAST_HOPS,
    IPV6_V6ONLY,
)
from router.platform.families import FAMILY, LEVEL
from router.policy.network import Interface

OpenSocket = Callable[[int, int, int], socket.socket]
"""By family, type and protocol. Raises OSError."""

BUFFER: Final = 1 << 20
"""Bytes. That of sending is the longest datagram, 9216 by default (netinet/udp_usrreq.c:2243)."""
MOST: Final = 64
"""Datagrams at a time."""
MAX_PAYLOAD: Final = 65535
BOUND_IF: Final = {4: IP_BOUND_IF, 6: IPV6_BOUND_IF}
REPORTED: Final = {
    4: (IP_RECVTTL, IP_RECVTOS, IP_PKTINFO),
    6: (IPV6_RECVHOPLIMIT, IPV6_RECVTCLASS, IPV6_RECVPKTINFO),
}
"""What a datagram arrives with."""
HOP_LIMIT: Final = {4: IP_RECVTTL, 6: IPV6_HOPLIMIT}
TRAFFIC_CLASS: Final = {4: IP_RECVTOS, 6: IPV6_TCLASS}
"""Types of control messages: of one byte and of an int (netinet/ip_input.c, ip_savecontrol;
netinet6/ip6_input.c, ip6_savecontrol_v4)."""
SET_HOP_LIMIT: Final = {4: IP_TTL, 6: IPV6_UNICAST_HOPS}
SET_TRAFFIC_CLASS: Final = {4: IP_TOS, 6: IPV6_TCLASS}
SET_DONT_FRAGMENT: Final = {4: IP_DONTFRAG, 6: IPV6_DONTFRAG}
ANCILLARY: Final = {version: SPACE[version] + 2 * socket.CMSG_SPACE(4) for version in (4, 6)}
PORT: Final = 2


def udp_socket(
    open_socket: OpenSocket, version: int, interface: Interface, source: bytes, port: int
) -> DarwinDatagramSocket:
    """See Sockets.udp_socket. A port that a program of this machine has at any address is not
    free: it may want it at every address later, and the mapping lasts longer than its socket."""
    with _opened(open_socket, version, interface) as probe:
        probe.bind(("", port))
    sock = _opened(open_socket, version, interface)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        for option in REPORTED[version]:
            sock.setsockopt(LEVEL[version], option, 1)
        sock.bind((socket.inet_ntop(FAMILY[version], source), port))
    except OSError:
        sock.close()
        raise
    return DarwinDatagramSocket(version, sock, interface.index)


def _opened(open_socket: OpenSocket, version: int, interface: Interface) -> socket.socket:
    """Raises OSError."""
    sock = open_socket(FAMILY[version], socket.SOCK_DGRAM, socket.IPPROTO_UDP)
    try:
        sock.setblocking(False)
        sock.setsockopt(LEVEL[version], BOUND_IF[version], interface.index)
        if version == 6:
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_V6ONLY, 1)
    except OSError:
        sock.close()
        raise
    return sock


class DarwinDatagramSocket:
    """See DatagramSocket. interface: the index of the one that it is bound to."""

    most_segments = 1
    _scratch = memoryview(bytearray(MAX_PAYLOAD))
    """Shared: what has been received is copied out of it at once."""

    def __init__(self, version: int, sock: socket.socket, interface: int) -> None:
        self.fileno = sock.fileno
        self.close = sock.close
        self.send: Callable[[Bytes, tuple[str, int]], object] = sock.sendto
        self._socket = sock
        self._version = version
        self._interface = interface
        self._into = (self._scratch,)

    def send_run(self, payloads: Bytes, size: int, address: tuple[str, int]) -> None:
        """One by one. Raises OSError, after the first of them perhaps."""
        for at in range(0, len(payloads), size):
            self._socket.sendto(payloads[at : at + size], address)

    def receive(self) -> Sequence[Arrived]:
        found: list[Arrived] = []
        for _ in range(MOST):
            try:
                arrived = self._receive_one()
            except OSError:
                if found:
                    break
                raise
            if arrived is not None:
                found.append(arrived)
        return found

    def endpoint(self, sender: bytes) -> tuple[bytes, int]:
        """The port comes first in a sender, the address behind it."""
        return sender[PORT:], int.from_bytes(sender[:PORT], "big")

    def errors(self) -> Iterator[NetworkError]:
        """None: see above."""
        return iter(())

    def set_hop_limit(self, hop_limit: int) -> None:
        self._set(SET_HOP_LIMIT, hop_limit)

    def set_traffic_class(self, traffic_class: int) -> None:
        self._set(SET_TRAFFIC_CLASS, traffic_class)

    def set_dont_fragment(self, dont_fragment: bool) -> None:
        self._set(SET_DONT_FRAGMENT, dont_fragment)

    def _set(self, options: dict[int, int], value: int) -> None:
        self._socket.setsockopt(LEVEL[self._version], options[self._version], value)

    def _receive_one(self) -> Arrived | None:
        """None: it has arrived by another interface. Raises OSError."""
        size, ancillary, _, (host, port, *_) = self._socket.recvmsg_into(
            self._into, ANCILLARY[self._version]
        )
        if interface_of(ancillary) != self._interface:
            return None
        address = socket.inet_pton(FAMILY[self._version], host.partition("%")[0])
        return Arrived(
            port.to_bytes(PORT, "big") + address,
            (bytes(self._scratch[:size]),),
            _field(ancillary, HOP_LIMIT[self._version]),
            _field(ancillary, TRAFFIC_CLASS[self._version]),
        )


def _field(messages: Sequence[ControlMessage], kind: int) -> int:
    """Of one byte or of four, the lowest of which stands first."""
    return next((value[0] for _, found, value in messages if found == kind and value), 0)
