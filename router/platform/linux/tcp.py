"""TCP sockets on either side of the router (ip(7), ipv6(7), tcp(7)).

Why an attempt to connect failed is in two places: SO_ERROR has the errno number, and the error
queue (`error_queue`) the ICMP error that caused it, with its sender.

The listeners are closed to others twice. They are bound to the TUN, so no packet of another
interface reaches them; and since what a local program sends to the TUN's address counts as received
by the TUN as well, though it goes by the loopback interface, a filter drops what was not really
received there.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import socket
import sys
import time
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from struct import Struct
from typing import Final

from router.flows.limiter import TokenBucket
from router.platform.base.connections import Resent
from router.platform.base.tcp import (
    ANY_PORT,
    USUAL_HOP_LIMIT,
    ConnectFailure,
    RelayBuffer,
    TcpInfo,
)
from router.platform.families import FAMILY
from router.platform.linux import icmp_filter
from router.platform.linux.error_queue import ERROR_SIZE, RECVERR, parse_extended_error
from router.platform.linux.listeners import is_listening
from router.platform.linux.only_on_linux import (
    MSG_ERRQUEUE,
    SO_BINDTODEVICE,
    SOCK_NONBLOCK,
    TCP_CONGESTION,
    TCP_INFO,
    TCP_KEEPIDLE,
)
from router.platform.linux.sockets import bind_to_device, bind_to_source
from router.platform.linux.splice_pipe import SplicePipe
from router.platform.privileged.client import GuardClient
from router.policy.network import Interface

DEFAULT: Final = -1
"""The system's own hop limit."""
CONGESTION_CONTROL: Final = b"reno"
"""Of the sockets that send to applications; every kernel has this one. The applications are on this
machine or on its LAN, and a system's BBR would pace each stream by a timer, whose interrupts halve
the throughput of downloads (docs/adr/005-tcp.md)."""
IFNAMSIZ: Final = 16
SIOCATMARK: Final = 0x8905
"""asm-generic/sockios.h"""
TCP_CLOSE: Final = 7
"""tcpi_state, the first byte of struct tcp_info (linux/tcp.h, net/tcp_states.h). In TIME_WAIT too:
that is a socket of its own, and this one is closed."""
INFO: Final = Struct("=24xI24xII8xI28xI24xQ4xII8xI")
"""Of struct tcp_info: tcpi_unacked, tcpi_last_data_recv and tcpi_last_ack_recv (milliseconds),
tcpi_rtt (microseconds), tcpi_total_retrans, tcpi_bytes_received, tcpi_segs_in, tcpi_notsent_bytes,
tcpi_data_segs_out."""
ANY_ADDRESS: Final = {4: "0.0.0.0", 6: "::"}  # noqa: S104 - of a socket that connects
IP_LOCAL_PORT_RANGE: Final = 51
ONLY_PORT: Final = Struct("=HH")
"""linux/in.h: the lowest and the highest, one in each half of a number of 32 bits."""
EPHEMERAL_PORTS: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
USUAL_EPHEMERAL_PORTS: Final = range(32768, 61000)
SHARE_OF_BINDS: Final = 8
"""Of the ports that the system chooses from, one in so many may be bound at once, and one in so
many in each TIME_WAIT_S: they stay bound in TIME_WAIT, and programs need some too."""
TIME_WAIT_S: Final = 60.0
"""TCP_TIMEWAIT_LEN (net/tcp.h)."""
OF_SERVICES: Final = range(0x8000)
"""Ports that services of this machine may listen at, now or later."""
LEAST_IDLE: Final = 1
LONGEST_INTERVAL: Final = 32767
MOST_PROBES: Final = 127
"""The bounds of TCP_KEEPIDLE, TCP_KEEPINTVL (both in seconds) and TCP_KEEPCNT."""
BACKLOG: Final = 4096

ANCILLARY_SPACE: Final = socket.CMSG_SPACE(ERROR_SIZE)

LOAD_WORD: Final = 0x20  # ld  [k]      4 bytes
INTERFACE_INDEX: Final = 0xFFFFF000 + 8  # SKF_AD_OFF + SKF_AD_IFINDEX


class LinuxTcpSockets:
    """See TcpSockets."""

    def __init__(self, guard: GuardClient, *, splicing: bool) -> None:
        self._guard = guard
        self._ephemeral = ephemeral_ports()
        burst = len(self._ephemeral) // SHARE_OF_BINDS
        self._binds = TokenBucket(burst / TIME_WAIT_S, burst)
        self.open_pipe: Callable[[], RelayBuffer] | None = SplicePipe if splicing else None

    def dialling(
        self, version: int, interface: Interface, port: int, hop_limit: int, traffic_class: int
    ) -> socket.socket:
        sock = socket.socket(FAMILY[version], socket.SOCK_STREAM | SOCK_NONBLOCK)
        try:
            bind_to_device(sock, interface.name)
            bind_to_source(sock, version, interface)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
            level, hops, tos, errors = _options(version)
            if hop_limit != USUAL_HOP_LIMIT:
                sock.setsockopt(level, hops, hop_limit)
                sock.setsockopt(level, errors, 1)
            if traffic_class:
                sock.setsockopt(level, tos, traffic_class)
            if port != ANY_PORT:
                chooses = port in self._ephemeral
                binds = not chooses or self._binds.take(time.monotonic())
                source = str(interface.bound_source(version) or ANY_ADDRESS[version])
                prefer_port(sock, source, port, binds=binds, chooses=chooses)
        except OSError:
            sock.close()
            raise
        return sock

    def connected(self, sock: socket.socket) -> None:
        level, hops, _, errors = _options(4 if sock.family == socket.AF_INET else 6)
        sock.setsockopt(level, hops, DEFAULT)
        sock.setsockopt(level, errors, 0)

    def set_traffic_class(self, sock: socket.socket, traffic_class: int) -> None:
        level, _, tos, _ = _options(4 if sock.family == socket.AF_INET else 6)
        sock.setsockopt(level, tos, traffic_class)

    def failure(self, sock: socket.socket) -> ConnectFailure:
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if not error:
            return ConnectFailure(0)
        version = 4 if sock.family == socket.AF_INET else 6
        try:
            _, ancillary, _, _ = sock.recvmsg(1, ANCILLARY_SPACE, MSG_ERRQUEUE)
        except OSError:
            return ConnectFailure(error)
        return connect_failure(error, version, ancillary)

    def has_lost_interface(self, sock: socket.socket) -> bool:
        try:
            sock.getsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, IFNAMSIZ)
        except OSError as error:
            return error.errno == errno.ENODEV
        return False

    def has_ended(self, sock: socket.socket) -> bool:
        return sock.getsockopt(socket.IPPROTO_TCP, TCP_INFO, 1)[0] == TCP_CLOSE

    def is_listening(self, address: bytes, port: int, interface: int) -> bool:
        return is_listening(address, port, interface)

    def tcp_info(self, sock: socket.socket) -> TcpInfo:
        info = sock.getsockopt(socket.IPPROTO_TCP, TCP_INFO, INFO.size)
        unacked, since_data, since_ack, rtt, again, received, segments, unsent, sent = INFO.unpack(
            info
        )
        return TcpInfo(
            segments,
            received,
            min(since_data, since_ack) / 1000,
            bool(unacked or unsent),
            rtt / 1e6 or None,
            Resent(sent, again),
        )

    def probe(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, LONGEST_INTERVAL)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, MOST_PROBES)
        self.start_keepalive(sock)

    def start_keepalive(self, sock: socket.socket) -> None:
        """TCP_KEEPIDLE restarts the timer of a socket that has SO_KEEPALIVE, and counts in for how
        long it has been idle (tcp_sock_set_keepidle_locked in net/ipv4/tcp.c): so it ends now."""
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, TCP_KEEPIDLE, LEAST_IDLE)

    def stop_keepalive(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0)

    def is_at_mark(self, sock: socket.socket) -> bool:
        return is_at_mark(sock)

    def listening(self, address: bytes) -> socket.socket:
        return self._guard.open_socket("listening_socket", address=str(ip_address(address)))


def prefer_port(sock: socket.socket, source: str, port: int, *, binds: bool, chooses: bool) -> None:
    """Connect from a port if that is possible. Raises nothing; see TcpSockets.dialling.

    source: the address that the socket is bound to, or the unspecified one.
    binds: whether the port may be bound, so that the system chooses it for no other program. Since
    the socket is bound to an interface and theirs are not, it would take a connection from the same
    address and port to the same destination for another one, which the far end does not
    (inet_match in net/ipv4/inet_hashtables.c).
    chooses: whether the system may choose the port when the socket connects, also one that others
    have, to other destinations or from other addresses (IP_LOCAL_PORT_RANGE, Linux 6.3).
    """
    if port in OF_SERVICES or (binds and _is_bound(sock, source, port)):
        return
    if chooses:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_IP, IP_LOCAL_PORT_RANGE, ONLY_PORT.pack(port, port))


def _is_bound(sock: socket.socket, source: str, port: int) -> bool:
    """Whether the port was free, and is the socket's now."""
    try:
        if ":" in source:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((source, port))
    except OSError:
        return False
    return True


def ephemeral_ports() -> range:
    """Those that the system chooses from (ip(7), ip_local_port_range)."""
    try:
        first, last = map(int, EPHEMERAL_PORTS.read_text().split())
    except (OSError, ValueError):
        return USUAL_EPHEMERAL_PORTS
    return range(first, last + 1)


def listening_socket(device: str, index: int, address: str) -> socket.socket:
    """See TcpSockets.listening; the TUN by name and index. Raises OSError."""
    version = 6 if ":" in address else 4
    sock = socket.socket(FAMILY[version], socket.SOCK_STREAM | SOCK_NONBLOCK)
    try:
        bind_to_device(sock, device)
        icmp_filter.attach(sock, _received_by(index))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, TCP_CONGESTION, CONGESTION_CONTROL)
        if version == 6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, 0))
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def is_at_mark(sock: socket.socket) -> bool:
    """See TcpSockets.is_at_mark (tcp(7), sockatmark(3))."""
    return bool(int.from_bytes(fcntl.ioctl(sock, SIOCATMARK, bytes(4)), sys.byteorder))


def _options(version: int) -> tuple[int, int, int, int]:
    """Level, hop limit, traffic class, error queue."""
    if version == 4:
        return socket.IPPROTO_IP, socket.IP_TTL, socket.IP_TOS, RECVERR[4]
    return (
        socket.IPPROTO_IPV6,
        socket.IPV6_UNICAST_HOPS,
        socket.IPV6_TCLASS,
        RECVERR[6],
    )


def connect_failure(
    error: int, version: int, ancillary: list[tuple[int, int, bytes]]
) -> ConnectFailure:
    """By the control messages of an error queue. An attempt that ended by a reset or by a time-out
    has no ICMP error of its errno number."""
    level, _, _, kind = _options(version)
    for found_level, found_kind, data in ancillary:
        if (found_level, found_kind) != (level, kind):
            continue
        found = parse_extended_error(data, version)
        if found is None or found.offender is None or found.error != error:
            continue
        if error != errno.ETIMEDOUT:
            return ConnectFailure(error, (found.kind, found.code, found.info), found.offender)
    return ConnectFailure(error)


def _received_by(index: int) -> list[icmp_filter.Instruction]:
    """Accept what came in by the interface `index`."""
    return [
        (LOAD_WORD, 0, 0, INTERFACE_INDEX),
        (icmp_filter.JUMP_EQUAL, 0, 1, index),
        (icmp_filter.RETURN, 0, 0, icmp_filter.WHOLE),
        (icmp_filter.RETURN, 0, 0, 0),
    ]
