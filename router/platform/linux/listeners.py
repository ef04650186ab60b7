"""Whether a program accepts TCP connections at a port (sock_diag(7), linux/inet_diag.h)."""

from __future__ import annotations

import socket
from struct import Struct, pack
from typing import Final

from router.platform.families import FAMILY
from router.platform.linux.netlink.constants import NLM_F_REQUEST
from router.platform.linux.netlink.messages import pack_message, unpack_messages

NETLINK_SOCK_DIAG: Final = 4
SOCK_DIAG_BY_FAMILY: Final = 20
REQUEST: Final = Struct("=BBBxI")
"""The beginning of struct inet_diag_req_v2: family, protocol, extensions, states."""
ANY_COOKIE: Final = b"\xff" * 8
TCP_LISTEN: Final = 10
AT_STATE: Final = 1
"""Of struct inet_diag_msg."""
EVERY_STATE: Final = 0xFFFFFFFF
BUFFER: Final = 4096


def is_listening(address: bytes, port: int, interface: int) -> bool:
    """Whether a listener takes requests to a local address (4 or 16 bytes) and port that come in by
    the interface of an index."""
    body = REQUEST.pack(FAMILY[4 if len(address) == 4 else 6], socket.IPPROTO_TCP, 0, EVERY_STATE)
    body += pack("!HH16s16s", port, 0, address, b"") + pack("=I", interface) + ANY_COOKIE
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as netlink:
        try:
            netlink.send(pack_message(SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 1, body))
            (answer,) = unpack_messages(netlink.recv(BUFFER))
        except OSError:
            return False
    return answer.kind == SOCK_DIAG_BY_FAMILY and answer.body[AT_STATE] == TCP_LISTEN
