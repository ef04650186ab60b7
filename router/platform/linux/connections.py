"""Lists connected sockets of all programs, and those of UDP that are not connected, with what the
kernel counts of TCP (sock_diag(7), struct inet_diag_msg in linux/inet_diag.h, struct tcp_info in
linux/tcp.h).

Always true: one step reads one datagram of the kernel, some 20 connections, so that its caller can
do other things between two of them. It needs no privilege.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import closing
from struct import Struct
from typing import Final

from router.platform.base.connections import Connection, Resent, Traffic
from router.platform.linux.netlink.constants import (
    NLM_F_DUMP,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
)
from router.platform.linux.netlink.messages import (
    attributes,
    error_number,
    pack_message,
    unpack_messages,
)
from router.platform.linux.sock_diag import (
    ANY_SOCKET,
    SOCK_DIAG_BY_FAMILY,
    pack_request,
    sock_diag,
)

STATES: Final = {
    1: "established",
    2: "syn-sent",
    3: "syn-received",
    4: "fin-wait-1",
    5: "fin-wait-2",
    8: "close-wait",
    9: "last-ack",
    11: "closing",
}
"""Those in which a socket has a connection (net/tcp_states.h)."""
ESTABLISHED, CLOSED = 1, 7
UNCONNECTED: Final = "unconnected"
WANTED: Final = {
    socket.IPPROTO_TCP: sum(1 << state for state in STATES),
    socket.IPPROTO_UDP: 1 << ESTABLISHED | 1 << CLOSED,
}
"""By protocol, the states to list; a UDP socket is established if it is connected, else closed."""
MESSAGE: Final = Struct("!xBxxHH16s16s")
"""The beginning of struct inet_diag_msg: state, ports, source, destination."""
INTERFACE: Final = Struct("=40xI")
MESSAGE_SIZE: Final = 72
INET_DIAG_INFO: Final = 2
INFO: Final = Struct("=5xB38xI4xII8xI28xI24xQII12xI40xQ")
"""Of struct tcp_info: tcpi_options, tcpi_last_data_sent, tcpi_last_data_recv, tcpi_last_ack_recv
(milliseconds), tcpi_rtt (microseconds), tcpi_total_retrans, tcpi_bytes_received, tcpi_segs_out,
tcpi_segs_in, tcpi_data_segs_out, tcpi_bytes_sent (since Linux 4.19)."""
TCPI_OPT_TIMESTAMPS: Final = 1
TIMESTAMPS: Final = 12
"""Bytes of the option with its padding, RFC 7323 appendix A."""
HEADERS: Final = {4: 20 + 20, 6: 40 + 20}
"""Bytes of IP and TCP headers, by IP version."""
BUFFER: Final = 8192
"""Bytes, not less than NLMSG_GOODSIZE (linux/netlink.h). The kernel fills no more than that at a
time, and it would fill 32 KB (netlink_dump in net/netlink/af_netlink.c)."""
V4_MAPPED: Final = bytes(10) + b"\xff\xff"
"""RFC 4291, 2.5.5.2: how an IPv6 socket has an IPv4 address."""


def connections(version: int, protocol: int) -> Iterator[list[Connection]]:
    """Such sockets of a family, some at each step. An IPv6 socket that is connected by
    IPv4 is of IPv4, and is listed with those of IPv6. Raises OSError."""
    extensions = 1 << INET_DIAG_INFO - 1
    body = pack_request(version, protocol, extensions, WANTED[protocol], ANY_SOCKET)
    with closing(sock_diag()) as netlink:
        netlink.send(pack_message(SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST | NLM_F_DUMP, 1, body))
        is_done = False
        while not is_done:
            found = []
            for message in unpack_messages(netlink.recv(BUFFER)):
                if message.kind == NLMSG_ERROR:
                    code = error_number(message.body)
                    raise OSError(code, os.strerror(code))
                is_done = message.kind == NLMSG_DONE
                if message.kind == SOCK_DIAG_BY_FAMILY:
                    found.append(parse_connection(message.body, protocol))
            yield found


def parse_connection(body: bytes, protocol: int) -> Connection:
    """A struct inet_diag_msg and its attributes."""
    state, source_port, destination_port, source, destination = MESSAGE.unpack_from(body)
    (interface,) = INTERFACE.unpack_from(body)
    source, destination = _address(body[0], source), _address(body[0], destination)
    info = attributes(body[MESSAGE_SIZE:]).get(INET_DIAG_INFO)
    return Connection(
        protocol,
        source,
        source_port,
        destination,
        destination_port,
        interface,
        STATES.get(state, UNCONNECTED),
        None if info is None or protocol != socket.IPPROTO_TCP else _traffic(info, len(source)),
    )


def _address(family: int, padded: bytes) -> bytes:
    if family == socket.AF_INET:
        return padded[:4]
    return padded[12:] if padded.startswith(V4_MAPPED) else padded


def _traffic(info: bytes, address_size: int) -> Traffic:
    options, sent, received, acknowledged, *counts = INFO.unpack_from(info.ljust(INFO.size, b"\0"))
    round_trip, again, bytes_in, packets_out, packets_in, segments, bytes_out = counts
    headers = HEADERS[4 if address_size == 4 else 6]
    if options & TCPI_OPT_TIMESTAMPS:
        headers += TIMESTAMPS
    return Traffic(
        packets_out,
        bytes_out + packets_out * headers,
        packets_in,
        bytes_in + packets_in * headers,
        min(sent, received, acknowledged) / 1000,
        round_trip / 1_000_000 or None,
        Resent(segments, again),
    )
