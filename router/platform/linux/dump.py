"""Dumps of rtnetlink: links, addresses, routes and rules as the kernel lists them.

Only reads, so it needs no privilege. Written out because `check` and `explain` are short: importing
pyroute2 takes 0.13 s, as long as reading 100,000 rules takes, and it needs 0.1 ms for each route of
a system that may have 10,000 of them.

Layouts: linux/netlink.h (nlmsghdr), linux/rtnetlink.h (rtattr), netlink(7).
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator, Mapping
from struct import Struct
from typing import Final

NLMSGHDR: Final = Struct("=IHHII")
ATTRIBUTE: Final = Struct("=HH")

NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3
NLM_F_REQUEST: Final = 0x001
NLM_F_DUMP: Final = 0x300
NLA_TYPE_MASK: Final = 0x3FFF

RTM_GETLINK: Final = 18
RTM_GETADDR: Final = 22
RTM_GETROUTE: Final = 26
RTM_GETRULE: Final = 34

BUFFER: Final = 1 << 20
NATIVE: Final = sys.byteorder

Attributes = Mapping[int, bytes]


def dump(
    netlink: socket.socket, request: int, family: int, header: Struct
) -> Iterator[tuple[tuple[int, ...], Attributes]]:
    """(fields of the header, attributes by type) of every object.

    `request` is one of RTM_GET..., `family` an AF_ number, `header` the layout that goes before the
    attributes, the family in its first byte. Raises OSError.
    """
    body = bytes([family]).ljust(header.size, b"\0")
    size = NLMSGHDR.size + len(body)
    netlink.send(NLMSGHDR.pack(size, request, NLM_F_REQUEST | NLM_F_DUMP, 1, 0) + body)
    while True:
        answer = netlink.recv(BUFFER)
        offset = 0
        while offset + NLMSGHDR.size <= len(answer):
            length, kind, _, _, _ = NLMSGHDR.unpack_from(answer, offset)
            start, end = offset + NLMSGHDR.size, offset + length
            if kind == NLMSG_DONE:
                return
            if kind == NLMSG_ERROR:
                code = -int.from_bytes(answer[start : start + 4], NATIVE, signed=True)
                raise OSError(code, os.strerror(code))
            fields = header.unpack_from(answer, start)
            # Of a family that it has not, such as IPv6 where it is turned off, a kernel lists all.
            if fields[0] == family or family == socket.AF_UNSPEC:
                yield fields, attributes(answer[start + header.size : end])
            offset += max((length + 3) & ~3, NLMSGHDR.size)


def attributes(data: bytes) -> dict[int, bytes]:
    """The payloads of attributes that follow each other, by type; of a repeated type the last."""
    found = {}
    offset = 0
    while offset + ATTRIBUTE.size <= len(data):
        length, kind = ATTRIBUTE.unpack_from(data, offset)
        if length < ATTRIBUTE.size:
            break
        found[kind & NLA_TYPE_MASK] = data[offset + ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3
    return found


def number(payload: bytes | None, absent: int = 0) -> int:
    """An unsigned number of the machine's own byte order."""
    return absent if payload is None else int.from_bytes(payload, NATIVE)


def text(payload: bytes | None) -> str:
    """A string that ends in a zero byte."""
    return (payload or b"").rstrip(b"\0").decode("utf-8", "replace")
