"""Many routes in few system calls: RTM_NEWROUTE and RTM_DELROUTE messages, packed by hand.

pyroute2 takes 0.6 ms for each route, which is 6 s for the 10,000 prefixes of a country list; this
takes 0.1 s (docs/adr/001-foundations.md has the figures). Of a batch only the last message requests
an acknowledgement; the kernel reports an error of any.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterator, Sequence
from functools import lru_cache
from struct import Struct
from typing import Final

from router.platform.base.errors import PlatformError
from router.platform.linux.netlink.constants import (
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_REPLACE,
    NLM_F_REQUEST,
    NLMSG_ERROR,
    RT_SCOPE_LINK,
    RT_SCOPE_UNIVERSE,
    RTA_DST,
    RTA_METRICS,
    RTA_OIF,
    RTA_PREFSRC,
    RTA_PRIORITY,
    RTAX_MTU,
    RTM_DELROUTE,
    RTM_NEWROUTE,
    RTN_UNICAST,
    RTPROT_TUNROUTER,
    SO_RCVBUFFORCE,
)
from router.platform.linux.netlink.dump import rtnetlink
from router.platform.linux.netlink.messages import (
    RTMSG,
    U32_ATTRIBUTE,
    error_number,
    pack_attribute,
    pack_message,
    unpack_messages,
)
from router.platform.linux.netlink.table_entry import TableEntry
from router.policy.network import TABLE_MAIN
from router.policy.prefixes import format_prefix
from router.policy.routes.route import Label

U32_SIZE: Final = U32_ATTRIBUTE.size
SEQUENCE: Final = Struct("=I")
SEQUENCE_OFFSET: Final = 8
"""Of nlmsg_seq in struct nlmsghdr (linux/netlink.h)."""
BATCH: Final = 512
REPORTS: Final = BATCH * 2048
"""Bytes of the receive buffer: the kernel may refuse each message of a batch, and reports it with
what it keeps beside the message itself."""
NO_SOURCE: Final = errno.EINVAL
"""What the kernel answers where the source of a route is not, or not yet, an address of the
system (fib_valid_prefsrc, ip6_route_info_create)."""


def add_entries(index: int, entries: Sequence[TableEntry]) -> list[TableEntry]:
    """Add routes by the interface `index` to the main table, before others at the same place; those
    that were refused for their source. Raises PlatformError that names the first one that the
    kernel refused for another reason."""
    return _send(RTM_NEWROUTE, NLM_F_CREATE, index, entries)


def replace_entries(index: int, entries: Sequence[TableEntry]) -> list[TableEntry]:
    """The same, in the place of those of the same prefix and metric. Raises PlatformError."""
    return _send(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, index, entries)


def delete_entries(index: int, entries: Sequence[TableEntry]) -> None:
    """Remove routes; one that does not exist is no error. Raises PlatformError.

    An entry without source matches each one at its place that has its MTU.
    """
    _send(RTM_DELROUTE, 0, index, entries)


def _send(kind: int, flags: int, index: int, entries: Sequence[TableEntry]) -> list[TableEntry]:
    refused: list[TableEntry] = []
    with rtnetlink() as netlink:
        with contextlib.suppress(OSError):  # without the right to, the usual one has to do
            netlink.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, REPORTS)
        for start in range(0, len(entries), BATCH):
            refused += _send_batch(netlink, kind, flags, index, entries[start : start + BATCH])
    return refused


def _send_batch(
    netlink: socket.socket, kind: int, flags: int, index: int, entries: Sequence[TableEntry]
) -> Iterator[TableEntry]:
    """The entries that were refused for their source."""
    last = len(entries) - 1
    netlink.send(
        b"".join(
            encode(
                entry,
                index,
                sequence,
                kind=kind,
                flags=flags | (NLM_F_ACK if sequence == last else 0),
            )
            for sequence, entry in enumerate(entries)
        )
    )
    while True:
        for sequence, code in _outcomes(netlink.recv(65536)):
            entry = entries[sequence]
            if code == NO_SOURCE and entry.has_source and kind == RTM_NEWROUTE:
                yield entry
            elif code and not (kind == RTM_DELROUTE and code == errno.ESRCH):
                shown = format_prefix(*entry[:3])
                raise PlatformError(f"the route to {shown} was refused: {os.strerror(code)}")
            if sequence == last:
                return


def _outcomes(datagram: bytes) -> Iterator[tuple[int, int]]:
    """(sequence number, errno or 0) of each acknowledgement or error."""
    for message in unpack_messages(datagram):
        if message.kind == NLMSG_ERROR:
            yield message.sequence, error_number(message.body)


def encode(
    entry: TableEntry,
    index: int,
    sequence: int,
    *,
    kind: int = RTM_NEWROUTE,
    flags: int = NLM_F_CREATE,
) -> bytes:
    """One message for `entry` by the interface `index`; `kind` is RTM_NEWROUTE or RTM_DELROUTE."""
    version, first, length, label, metric = entry
    head, middle, tail = _parts(kind, NLM_F_REQUEST | flags, index, version, length, label, metric)
    address = first.to_bytes(4 if version == 4 else 16, "big")
    return b"".join((head, SEQUENCE.pack(sequence), middle, address, tail))


@lru_cache(maxsize=1024)
def _parts(
    kind: int, flags: int, index: int, version: int, length: int, label: Label, metric: int
) -> tuple[bytes, bytes, bytes]:
    """A message without its sequence number and without the prefix's address: what goes before the
    first, between them, and behind. Thousands of routes share it."""
    four = version == 4
    size = 4 if four else 16
    header = RTMSG.pack(
        socket.AF_INET if four else socket.AF_INET6,
        length,
        0,
        0,
        TABLE_MAIN,
        RTPROT_TUNROUTER,
        RT_SCOPE_LINK if four else RT_SCOPE_UNIVERSE,
        RTN_UNICAST,
        0,
    )
    tail = U32_ATTRIBUTE.pack(U32_SIZE, RTA_OIF, index)
    tail += U32_ATTRIBUTE.pack(U32_SIZE, RTA_PRIORITY, metric)
    tail += _encode_label(label, size)
    body = header + pack_attribute(RTA_DST, bytes(size)) + tail
    message = pack_message(kind, flags, 0, body)
    address = len(message) - len(tail) - size
    return (
        message[:SEQUENCE_OFFSET],
        message[SEQUENCE_OFFSET + 4 : address],
        message[address + size :],
    )


def _encode_label(label: Label, size: int) -> bytes:
    """`size`: bytes of an address."""
    metrics = U32_ATTRIBUTE.pack(U32_SIZE, RTAX_MTU, label.mtu)
    metrics += b"".join(pack_attribute(kind, payload) for kind, payload in label.metrics)
    packed = pack_attribute(RTA_METRICS, metrics)
    if label.source is not None:
        packed += pack_attribute(RTA_PREFSRC, label.source.to_bytes(size, "big"))
    return packed
