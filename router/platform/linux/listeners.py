"""Whether a program accepts TCP connections at a port."""

from __future__ import annotations

import socket
from struct import pack
from typing import Final

from router.platform.linux.netlink.constants import NLM_F_REQUEST
from router.platform.linux.netlink.messages import pack_message, unpack_messages
from router.platform.linux.sock_diag import (
    ANY_COOKIE,
    SOCK_DIAG_BY_FAMILY,
    pack_request,
    sock_diag,
)

TCP_LISTEN: Final = 10
AT_STATE: Final = 1
"""Of struct inet_diag_msg."""
EVERY_STATE: Final = 0xFFFFFFFF
BUFFER: Final = 4096


def is_listening(address: bytes, port: int, interface: int) -> bool:
    """Whether a listener takes requests to a local address (4 or 16 bytes) and port that come in by
    the interface of an index."""
    version = 4 if len(address) == 4 else 6
    sockid = pack("!HH16s16s", port, 0, address, b"") + pack("=I", interface) + ANY_COOKIE
    body = pack_request(version, socket.IPPROTO_TCP, 0, EVERY_STATE, sockid)
    try:
        with sock_diag() as netlink:
            netlink.send(pack_message(SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 1, body))
            (answer,) = unpack_messages(netlink.recv(BUFFER))
    except OSError:
        return False
    return answer.kind == SOCK_DIAG_BY_FAMILY and answer.body[AT_STATE] == TCP_LISTEN
