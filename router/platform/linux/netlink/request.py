"""One request of rtnetlink and its acknowledgement.

Always true: a request that the kernel refuses raises OSError with the kernel's errno number, and
with the words that the kernel adds to it (NETLINK_EXT_ACK, Linux 4.12) behind those of the number.

Must not know: what a request is about; `links`, `addresses`, `rules` and `single_routes` make them.
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Final, NamedTuple

from router.platform.linux.netlink.constants import (
    NETLINK_CAP_ACK,
    NETLINK_EXT_ACK,
    NLM_F_ACK,
    NLM_F_ACK_TLVS,
    NLM_F_REQUEST,
    NLMSG_ERROR,
    NLMSGERR_ATTR_MSG,
    SOL_NETLINK,
)
from router.platform.linux.netlink.dump import rtnetlink
from router.platform.linux.netlink.messages import (
    NLMSGHDR,
    Message,
    attributes,
    error_number,
    pack_message,
    text,
    unpack_messages,
)

BUFFER: Final = 1 << 16
ERROR_NUMBER_SIZE: Final = 4
SEQUENCE: Final = 1


class Request(NamedTuple):
    """kind: RTM_...; flags: those beside NLM_F_REQUEST and NLM_F_ACK; body: what follows the
    header."""

    kind: int
    flags: int
    body: bytes


def request(wanted: Request) -> list[Message]:
    """What the kernel sends before its acknowledgement: an object that was requested, nothing where
    something was changed. Raises OSError."""
    with rtnetlink() as netlink:
        for option in (NETLINK_EXT_ACK, NETLINK_CAP_ACK):
            with contextlib.suppress(OSError):  # an older kernel gives a number alone
                netlink.setsockopt(SOL_NETLINK, option, 1)
        flags = NLM_F_REQUEST | NLM_F_ACK | wanted.flags
        netlink.send(pack_message(wanted.kind, flags, SEQUENCE, wanted.body))
        return _answers(netlink)


def _answers(netlink: socket.socket) -> list[Message]:
    found: list[Message] = []
    while True:
        for message in unpack_messages(netlink.recv(BUFFER)):
            if message.kind != NLMSG_ERROR:
                found.append(message)
            elif error_number(message.body):
                raise refusal(message)
            else:
                return found


def refusal(message: Message) -> OSError:
    """Of an NLMSG_ERROR message (struct nlmsgerr in linux/netlink.h)."""
    number = error_number(message.body)
    words = os.strerror(number)
    if message.flags & NLM_F_ACK_TLVS:
        details = attributes(message.body[ERROR_NUMBER_SIZE + NLMSGHDR.size :])
        added = text(details.get(NLMSGERR_ATTR_MSG)).rstrip(".")
        words += f" ({added})" if added else ""
    return OSError(number, words)
