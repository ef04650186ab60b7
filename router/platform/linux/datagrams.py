"""UDP sockets that leave by one interface only, and their error queues (ip(7), ipv6(7), udp(7)).

The error queue (`error_queue`) holds each ICMP error about what the socket has sent, with its
sender and as much of the datagram as it quotes. When the kernel itself refuses a datagram that is
too long, it queues an error with the path's MTU.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from struct import pack
from typing import Final

from router.platform.base.descriptors import Bytes
from router.platform.base.sockets import Arrived, NetworkError
from router.platform.families import FAMILY, LEVEL
from router.platform.linux.error_queue import (
    IP_RECVERR,
    IPV6_RECVERR,
    RECVERR,
    parse_extended_error,
)
from router.platform.linux.message_batch import MessageBatch
from router.platform.linux.only_on_linux import MSG_ERRQUEUE
from router.platform.linux.sockets import bind_to_device
from router.policy.network import Interface

MAX_PAYLOAD: Final = 65535
BUFFER: Final = 1 << 20
"""Bytes; some 1,500 small datagrams."""

IP_TOS: Final = 1
IP_TTL: Final = 2
IP_MTU_DISCOVER: Final = 10
IP_RECVTTL: Final = 12
IP_RECVTOS: Final = 13
IP_PMTUDISC_DONT: Final = 0
IP_PMTUDISC_DO: Final = 2
IPV6_DONTFRAG: Final = 62
UDP_SEGMENT: Final = 103
UDP_MAX_SEGMENTS: Final = 64

MOST_ERRORS: Final = 64

HOP_LIMIT: Final = {4: IP_TTL, 6: socket.IPV6_HOPLIMIT}
TRAFFIC_CLASS: Final = {4: IP_TOS, 6: socket.IPV6_TCLASS}
SET_HOP_LIMIT: Final = {4: IP_TTL, 6: socket.IPV6_UNICAST_HOPS}
ERROR_SPACE: Final = 256


def udp_socket(
    sock: socket.socket, version: int, interface: Interface, source: bytes, port: int
) -> LinuxDatagramSocket:
    """See Sockets.udp_socket. `sock`: bound to nothing yet; closed when this fails. A port that a
    program of this machine has at any address is not free: it may want it at every address later,
    and the mapping lasts longer than the program's socket."""
    try:
        _check_free(version, interface, port)
        sock.setblocking(False)
        bind_to_device(sock, interface.name)
        if version == 4:
            for option in (IP_RECVERR, IP_RECVTTL, IP_RECVTOS):
                sock.setsockopt(socket.IPPROTO_IP, option, 1)
        else:
            for option in (
                *(socket.IPV6_V6ONLY, IPV6_RECVERR),
                *(socket.IPV6_RECVHOPLIMIT, socket.IPV6_RECVTCLASS),
            ):
                sock.setsockopt(socket.IPPROTO_IPV6, option, 1)
        sock.bind((socket.inet_ntop(sock.family, source), port))
    except OSError:
        sock.close()
        raise
    return LinuxDatagramSocket(version, sock)


def _check_free(version: int, interface: Interface, port: int) -> None:
    """Raises OSError, EADDRINUSE if a socket at every address could not have the port."""
    with socket.socket(FAMILY[version], socket.SOCK_DGRAM) as sock:
        bind_to_device(sock, interface.name)
        if version == 6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(("", port))


class LinuxDatagramSocket:
    """See DatagramSocket."""

    most_segments = UDP_MAX_SEGMENTS

    def __init__(self, version: int, sock: socket.socket) -> None:
        self.fileno = sock.fileno
        self.close = sock.close
        self.send: Callable[[Bytes, tuple[str, int]], object] = sock.sendto
        self._socket = sock
        self._descriptor = sock.fileno()
        self._receive = _batch(version).receive
        self._version = version
        self._level = LEVEL[version]
        self._hop_limit = HOP_LIMIT[version]

    def send_run(self, payloads: Bytes, size: int, address: tuple[str, int]) -> None:
        segment = (socket.IPPROTO_UDP, UDP_SEGMENT, pack("=H", size))
        self._socket.sendmsg((payloads,), (segment,), 0, address)

    def receive(self) -> Sequence[Arrived]:
        return self._receive(self._descriptor)

    def endpoint(self, sender: bytes) -> tuple[bytes, int]:
        """Of a struct sockaddr_in or sockaddr_in6."""
        address = sender[4:8] if self._version == 4 else sender[8:24]
        return address, sender[2] << 8 | sender[3]

    def errors(self) -> Iterator[NetworkError]:
        for _ in range(MOST_ERRORS):
            try:
                payload, ancillary, _, destination = self._socket.recvmsg(
                    MAX_PAYLOAD, ERROR_SPACE, MSG_ERRQUEUE
                )
            except OSError:
                return
            yield self._error(payload, destination, {kind: value for _, kind, value in ancillary})

    def set_hop_limit(self, hop_limit: int) -> None:
        self._socket.setsockopt(self._level, SET_HOP_LIMIT[self._version], hop_limit)

    def set_traffic_class(self, traffic_class: int) -> None:
        self._socket.setsockopt(self._level, TRAFFIC_CLASS[self._version], traffic_class)

    def set_dont_fragment(self, dont_fragment: bool) -> None:
        if self._version == 4:
            how = IP_PMTUDISC_DO if dont_fragment else IP_PMTUDISC_DONT
            self._socket.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, how)
        else:
            self._socket.setsockopt(socket.IPPROTO_IPV6, IPV6_DONTFRAG, dont_fragment)

    def _error(
        self, payload: bytes, destination: tuple[str, int], values: dict[int, bytes]
    ) -> NetworkError:
        report = parse_extended_error(values[RECVERR[self._version]], self._version)
        assert report is not None, "the kernel writes whole structures"
        return NetworkError(
            report.offender,
            report.kind,
            report.code,
            report.info,
            socket.inet_pton(self._socket.family, destination[0].partition("%")[0]),
            destination[1],
            payload,
            _number(values.get(self._hop_limit)),
            _number(values.get(TRAFFIC_CLASS[self._version])),
        )


@cache
def _batch(version: int) -> MessageBatch:
    return MessageBatch(version)


def _number(value: bytes | None) -> int:
    return int.from_bytes(value, sys.byteorder) if value else 0
