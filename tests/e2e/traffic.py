"""Traffic that never stops, whatever errors it gets, run as a process of its own in a namespace:

    python tests/e2e/traffic.py ADDRESS UDP_PORT TCP_PORT

A datagram every INTERVAL_S, and a connection that sends something as often; one that fails or ends
is followed by the next at once. It prints `sending` when it begins.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import sys
import time

INTERVAL_S = 0.01
PATIENCE_S = 0.5
"""Seconds after which a connection that is not established is tried again."""


class Caller:
    """Connects again and again, and sends while it is connected."""

    def __init__(self, family: int, address: tuple[str, int]) -> None:
        self._family = family
        self._address = address
        self._begin()

    def _begin(self) -> None:
        self._sock = socket.socket(self._family, socket.SOCK_STREAM)
        self._sock.setblocking(False)
        self._since = time.monotonic()
        self._connected = False
        self._sock.connect_ex(self._address)

    def turn(self) -> None:
        try:
            self._sock.send(b"still here")
            self._connected = True
        except OSError as error:
            waiting = error.errno in (errno.EAGAIN, errno.ENOTCONN)
            late = not self._connected and time.monotonic() - self._since > PATIENCE_S
            if not waiting or late:
                self._sock.close()
                self._begin()


def main() -> None:
    address, udp_port, tcp_port = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    datagrams = socket.socket(family, socket.SOCK_DGRAM)
    datagrams.setblocking(False)
    caller = Caller(family, (address, tcp_port))
    print("sending", flush=True)
    while True:
        with contextlib.suppress(OSError):
            datagrams.sendto(b"still here", (address, udp_port))
        caller.turn()
        time.sleep(INTERVAL_S)


if __name__ == "__main__":
    main()
