"""Who has connected to a Unix socket (sys/un.h, LOCAL_PEERCRED; sys/ucred.h, struct xucred).

The file's mode lets root alone connect (kern/uipc_usrreq.c:1345). The credentials are checked as
well, since another program may change the mode of a file.
"""

from __future__ import annotations

import errno
import os
import socket
from struct import Struct
from typing import Any, Final

SOL_LOCAL: Final = 0
LOCAL_PEERCRED: Final = 1
XUCRED: Final = Struct("<IIhxx16I")
"""Version, effective user, number of groups, groups."""
XUCRED_VERSION: Final = 0
ROOT: Final = 0


def peer_user(sock: socket.socket) -> int:
    """The effective user at the time of its connect. Raises OSError."""
    value = sock.getsockopt(SOL_LOCAL, LOCAL_PEERCRED, XUCRED.size)
    if len(value) < XUCRED.size:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    version, user, *_ = XUCRED.unpack(value)
    if version != XUCRED_VERSION:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return int(user)


class CheckedListener(socket.socket):
    """A listening socket, non-blocking, that accepts connections of root alone."""

    def accept(self) -> tuple[socket.socket, Any]:
        """Raises BlockingIOError when none is waiting, and for one that is closed at once."""
        accepted, address = super().accept()
        try:
            if peer_user(accepted) == ROOT:
                return accepted, address
        except OSError:
            pass
        accepted.close()
        raise BlockingIOError(errno.EAGAIN, "a connection of another user was closed")
