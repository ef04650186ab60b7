"""Who has connected to a Unix socket (sys/un.h, LOCAL_PEERCRED; sys/ucred.h, struct xucred).

The file's owner and mode let root connect, and the group of the web process's connector
(kern/uipc_usrreq.c:1345). The credentials are checked as well: of that group only the router's
account may, and another program may change the mode of a file.
"""

from __future__ import annotations

import errno
import os
import socket
from struct import Struct
from typing import Any, Final, NamedTuple

from router.platform.account import find_account, usual_account
from router.platform.darwin.runtime import CONNECTORS

SOL_LOCAL: Final = 0
LOCAL_PEERCRED: Final = 1
XUCRED: Final = Struct("<IIhxx16I")
"""Version, effective user, number of groups, groups, of which the first is the effective one."""
XUCRED_VERSION: Final = 0
ROOT: Final = 0


class Credentials(NamedTuple):
    """Effective user and group."""

    user: int
    group: int


def peer_credentials(sock: socket.socket) -> Credentials:
    """At the time of its connect. Raises OSError."""
    value = sock.getsockopt(SOL_LOCAL, LOCAL_PEERCRED, XUCRED.size)
    if len(value) < XUCRED.size:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    version, user, count, group, *_ = XUCRED.unpack(value)
    if version != XUCRED_VERSION or count < 1:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
    return Credentials(user, group)


class CheckedListener(socket.socket):
    """A listening socket, non-blocking, that accepts connections of root, and of the connector."""

    def accept(self) -> tuple[socket.socket, Any]:
        """Raises BlockingIOError when none is waiting, and for one that is closed at once."""
        accepted, address = super().accept()
        try:
            if _may_connect(peer_credentials(accepted)):
                return accepted, address
        except OSError:
            pass
        accepted.close()
        raise BlockingIOError(errno.EAGAIN, "a connection of another user was closed")


def _may_connect(peer: Credentials) -> bool:
    if peer.user == ROOT:
        return True
    account = find_account(usual_account())
    return account is not None and peer == (account.user, CONNECTORS)
