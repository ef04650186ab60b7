"""Sockets that the guard hands over to the router.

Always true: family, type and protocol go with each descriptor. Where a system cannot be asked for
the protocol (SO_PROTOCOL, which macOS lacks), Python would take it to be 0.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator

from router.platform.privileged.channel import Message


def handed_over(*sockets: socket.socket) -> Message:
    """What hands them over; they belong to the message then."""
    kinds = [[int(sock.family), int(sock.type), sock.proto] for sock in sockets]
    return Message(kinds, [sock.detach() for sock in sockets])


def received(reply: Message) -> Iterator[socket.socket]:
    """The sockets of a message, perhaps fewer than were sent: a kernel drops those for which this
    process has no room (unix(7)). Raises OSError if there is none."""
    if not reply.descriptors:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    for (family, kind, protocol), descriptor in zip(reply.value, reply.descriptors, strict=False):
        yield socket.socket(family, kind, protocol, fileno=descriptor)
