"""What every system offers for a connected TCP socket, beyond sending and receiving."""

from __future__ import annotations

import contextlib
import socket
from struct import pack
from typing import Final

LINGER_FOR_NO_TIME: Final = pack("ii", 1, 0)
"""struct linger: on, 0 seconds."""


def reset_on_close(sock: socket.socket) -> None:
    """Let closing the socket send a reset instead of a FIN (socket(7), SO_LINGER)."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_FOR_NO_TIME)


def take_error(sock: socket.socket) -> int:
    """The pending errno of a socket, which this clears; 0 where there is none. Raises OSError."""
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
