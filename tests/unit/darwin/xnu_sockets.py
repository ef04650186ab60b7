"""Sockets of Linux that take the options of xnu, and deliver control messages as xnu does.

Each number is from xnu's headers (netinet/in.h:412-447, netinet6/in6.h:505-641,
netinet/tcp.h:221-245), with the number that has its meaning on Linux (ip(7), ipv6(7), tcp(7)); what
is not among them is refused, as the kernel refuses an option that it does not know.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

from tests.unit.darwin import layouts

SO_RCVBUFFORCE, SO_SNDBUFFORCE, SO_BINDTOIFINDEX = 33, 32, 62
BOUND_IF = {(0, 25), (41, 125)}
DONTFRAG = (0, 28)
CONNECTION_INFO = (6, 0x106)
ICMP6_FILTER = (58, 18)
OPTIONS = {
    (0, 2): 3,  # IP_HDRINCL
    (0, 3): 1,  # IP_TOS
    (0, 4): 2,  # IP_TTL
    (0, 24): 12,  # IP_RECVTTL
    (0, 26): 8,  # IP_PKTINFO
    (0, 27): 13,  # IP_RECVTOS
    (41, 4): 16,  # IPV6_UNICAST_HOPS
    (41, 27): 26,  # IPV6_V6ONLY
    (41, 35): 66,  # IPV6_RECVTCLASS
    (41, 36): 67,  # IPV6_TCLASS
    (41, 37): 51,  # IPV6_RECVHOPLIMIT
    (41, 61): 49,  # IPV6_RECVPKTINFO
    (41, 62): 62,  # IPV6_DONTFRAG
    (6, 1): 1,  # TCP_NODELAY
    (6, 0x10): 4,  # TCP_KEEPALIVE, TCP_KEEPIDLE
    (6, 0x101): 5,  # TCP_KEEPINTVL
    (6, 0x102): 6,  # TCP_KEEPCNT
}
MTU_DISCOVER, DISCOVER_DONT, DISCOVER_PROBE = 10, 0, 3
"""xnu keeps no path MTU for UDP: what a datagram may be is what the interface takes."""
CONTROL = {
    (0, 8): 26,  # IP_PKTINFO
    (41, 50): 46,  # IPV6_PKTINFO
    (41, 52): 47,  # IPV6_HOPLIMIT
    (41, 67): 36,  # IPV6_TCLASS
}
ONE_BYTE = {(0, 1): 27, (0, 2): 24}
"""IP_TOS and IP_TTL of Linux, as IP_RECVTOS and IP_RECVTTL."""
STATES = {1: 4, 2: 2, 3: 3, 4: 6, 5: 9, 6: 10, 7: 0, 8: 5, 9: 8, 10: 1, 11: 7}
"""Of TCP: net/tcp_states.h, netinet/tcp_fsm.h."""
GOT_THE_END = {5, 7, 8, 10}
LINUX_TCP_INFO = 11
OVER = {6, 7, 9, 11}
"""Of Linux: both ends have ended, or a reset has ended it."""
TCP_INFO = struct.Struct("=24xI40xI28xI24xQ4xII8xI")
"""tcpi_unacked, tcpi_rtt, tcpi_total_retrans, tcpi_bytes_received, tcpi_segs_in,
tcpi_notsent_bytes, tcpi_data_segs_out (linux/tcp.h)."""


def refuse(number: int) -> OSError:
    return OSError(number, os.strerror(number))


class XnuSocket(socket.socket):
    """Bound to an interface, it receives by that alone, more than xnu does. A connection that is
    over takes no options (kern/uipc_socket.c:4878)."""

    _has_begun = False

    def connect_ex(self, address: Any, /) -> int:
        self._has_begun = True
        return super().connect_ex(address)

    def setsockopt(self, level: int, option: int, value: Any, *more: Any) -> None:
        where = level, option
        if self._has_begun and self._state() in OVER:
            raise refuse(errno.EINVAL)
        if where in BOUND_IF:
            super().setsockopt(socket.SOL_SOCKET, SO_BINDTOIFINDEX, value)
        elif where == DONTFRAG:
            how = DISCOVER_PROBE if value else DISCOVER_DONT
            super().setsockopt(socket.IPPROTO_IP, MTU_DISCOVER, how)
        elif where == ICMP6_FILTER:
            super().setsockopt(socket.IPPROTO_ICMPV6, 1, bytes(each ^ 0xFF for each in value))
        elif level == socket.SOL_SOCKET:
            super().setsockopt(level, option, value, *more)
        elif where in OPTIONS:
            super().setsockopt(level, OPTIONS[where], value)
        else:
            raise refuse(errno.ENOPROTOOPT)

    def getsockopt(self, level: int, option: int, size: int = 0) -> Any:
        where = level, option
        if where in BOUND_IF:
            return super().getsockopt(socket.SOL_SOCKET, SO_BINDTOIFINDEX)
        if where == CONNECTION_INFO:
            return self._connection_info()[:size]
        if level == socket.SOL_SOCKET:
            return super().getsockopt(level, option, size)
        if where in OPTIONS:
            return super().getsockopt(level, OPTIONS[where], size)
        raise refuse(errno.ENOPROTOOPT)

    def accept(self) -> tuple[XnuSocket, Any]:
        descriptor, address = self._accept()  # type: ignore[attr-defined]
        accepted = XnuSocket(self.family, self.type, self.proto, fileno=descriptor)
        accepted._has_begun = True
        return accepted, None if accepted._state() in OVER else address

    def recvmsg_into(self, buffers: Any, size: int = 0, flags: int = 0) -> Any:
        count, control, found, sender = super().recvmsg_into(buffers, size, flags)
        return count, [as_of_xnu(*each) for each in control], found, sender

    def _state(self) -> int:
        return int(super().getsockopt(socket.IPPROTO_TCP, LINUX_TCP_INFO, 1)[0])

    def _connection_info(self) -> bytes:
        raw = super().getsockopt(socket.IPPROTO_TCP, LINUX_TCP_INFO, TCP_INFO.size)
        unacked, rtt, again, received, arrived, unsent, sent = TCP_INFO.unpack(raw)
        info = layouts.TcpConnectionInfo()
        info.tcpi_state = STATES[raw[0]]
        info.tcpi_snd_sbbytes = unacked + unsent
        info.tcpi_srtt = rtt // 1000
        info.tcpi_txpackets, info.tcpi_rxpackets = sent, arrived
        info.tcpi_rxbytes = received - (info.tcpi_state in GOT_THE_END and received > 0)
        info.tcpi_txretransmitpackets = again
        return bytes(ctypes.string_at(ctypes.addressof(info), ctypes.sizeof(info)))


OPEN: Callable[[int, int, int], socket.socket] = (
    socket.socket if sys.platform == "darwin" else XnuSocket
)
"""On a Mac the kernel itself."""


def as_of_xnu(level: int, kind: int, value: bytes) -> tuple[int, int, bytes]:
    """A control message of Linux."""
    if (level, kind) in ONE_BYTE:
        return level, ONE_BYTE[level, kind], value[:1]
    return level, CONTROL[level, kind], value
