"""What a host begins beside a flood: a connection, a DNS query and their far ends.

Run as a process of its own:

    python -m bench.newcomers far 198.51.100.2 …    the far ends, until it is ended
    python -m bench.newcomers try 198.51.100.2      prints one JSON object: seconds until each was
                                                    answered, null where it was not

Each has the patience that programs have: a connection repeats its request after a second, a
resolver its query. Always true: bounded in time.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Final

from router.platform.families import FAMILY

DNS, OPEN = 53, 8053
PATIENCE_S: Final = 2.5
REPEAT_S: Final = 1.0
QUERY: Final = bytes.fromhex("000101000001000000000000076578616d706c650000010001")
"""DNS (RFC 1035): the address of `example`."""


def serve(hosts: Sequence[str]) -> None:
    """Accepts connections, and answers queries with themselves."""
    waiting = selectors.DefaultSelector()
    for host in hosts:
        listener = socket.create_server((host, OPEN), family=_family(host))
        waiting.register(listener, selectors.EVENT_READ)
        resolver = socket.socket(_family(host), socket.SOCK_DGRAM)
        resolver.bind((host, DNS))
        waiting.register(resolver, selectors.EVENT_READ)
    print("listening", flush=True)
    while True:
        for key, _ in waiting.select():
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            if sock.type is socket.SOCK_STREAM:
                sock.accept()[0].close()
            else:
                query, sender = sock.recvfrom(512)
                sock.sendto(query, sender)


def connect(host: str) -> None:
    """Raises OSError."""
    socket.create_connection((host, OPEN), timeout=PATIENCE_S).close()


def ask(host: str) -> None:
    """Raises OSError."""
    with socket.socket(_family(host), socket.SOCK_DGRAM) as sock:
        sock.settimeout(REPEAT_S)
        sock.connect((host, DNS))
        for _ in range(2):
            sock.send(QUERY)
            try:
                sock.recv(512)
            except TimeoutError:
                continue
            return
    raise TimeoutError


def seconds(attempt: Callable[[str], None], host: str) -> float | None:
    """Until it has succeeded; None if it has not."""
    start = time.perf_counter()
    try:
        attempt(host)
    except OSError:
        return None
    return time.perf_counter() - start


def _family(host: str) -> socket.AddressFamily:
    return FAMILY[ip_address(host).version]


def main() -> None:
    what, *hosts = sys.argv[1:]
    if what == "far":
        serve(hosts)
    (host,) = hosts
    print(json.dumps({"connection": seconds(connect, host), "dns": seconds(ask, host)}))


if __name__ == "__main__":
    main()
