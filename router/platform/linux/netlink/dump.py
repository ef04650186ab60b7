"""Dumps of netlink: links, addresses, routes, rules and the like as the kernel lists them.

Only reads, so it needs no privilege. Written out because `check` and `explain` are short: importing
pyroute2 takes 0.13 s, as long as reading 100,000 rules takes, and it needs 0.1 ms for each route of
a system that may have 10,000 of them.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from struct import Struct
from typing import Final

from router.platform.linux.netlink.constants import (
    NETLINK_GET_STRICT_CHK,
    NLM_F_DUMP,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    SOL_NETLINK,
)
from router.platform.linux.netlink.messages import (
    Attributes,
    attributes,
    error_number,
    pack_message,
    unpack_messages,
)
from router.platform.linux.only_on_linux import AF_NETLINK, NETLINK_ROUTE

BUFFER: Final = 1 << 20


def rtnetlink() -> socket.socket:
    """A socket for `dump`. Raises OSError."""
    netlink = socket.socket(AF_NETLINK, socket.SOCK_RAW, NETLINK_ROUTE)
    netlink.bind((0, 0))
    return netlink


def strict_rtnetlink() -> socket.socket:
    """A socket for `dump` with `wanted`; a kernel before 4.20 lists everything all the same.
    Raises OSError."""
    netlink = rtnetlink()
    with contextlib.suppress(OSError):
        netlink.setsockopt(SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1)
    return netlink


def dump(
    netlink: socket.socket, request: int, family: int, header: Struct, filters: bytes = b""
) -> Iterator[tuple[tuple[int, ...], Attributes]]:
    """(fields of the header, attributes by type) of every object.

    `request` is one of RTM_GET..., `family` an AF_ number, `header` the layout that goes before the
    attributes, the family in its first byte. `filters`: attributes that what is listed must have,
    by a socket of strict_rtnetlink. Raises OSError.
    """
    body = bytes([family]).ljust(header.size, b"\0") + filters
    netlink.send(pack_message(request, NLM_F_REQUEST | NLM_F_DUMP, 1, body))
    while True:
        for message in unpack_messages(netlink.recv(BUFFER)):
            if message.kind == NLMSG_DONE:
                return
            if message.kind == NLMSG_ERROR:
                code = error_number(message.body)
                raise OSError(code, os.strerror(code))
            fields = header.unpack_from(message.body)
            # A kernel without the family, such as one without IPv6, lists all families instead.
            if fields[0] == family or family == socket.AF_UNSPEC:
                yield fields, attributes(message.body[header.size :])
