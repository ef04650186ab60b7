"""SOCKS5 proxies that are allowed to behave as they do, and ones that are not; run as a process of
its own:

    python tests/e2e/scripted_proxy.py ADDRESS DRIP_PORT JOINED_PORT GARBAGE_PORT NEVER_PORT \
        EXCESS_PORT LIMITED_PORT V4_ONLY_PORT

- DRIP_PORT sends what it says byte by byte, each in a segment of its own.
- JOINED_PORT sends its reply only together with the first bytes of the destination.
- GARBAGE_PORT answers everything as an HTTP server does.
- NEVER_PORT accepts connections and says nothing.
- EXCESS_PORT accepts a greeting, and goes on talking.
- LIMITED_PORT gives a destination LIMIT_S to accept, and then says that it is unreachable.
- V4_ONLY_PORT does not support IPv6 destinations.

It prints `listening` when it does.
"""

from __future__ import annotations

import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Container

REPLY = b"\x05\x00\x00\x01" + bytes(6)
HOST_UNREACHABLE = b"\x05\x04\x00\x01" + bytes(6)
TYPE_NOT_SUPPORTED = b"\x05\x08\x00\x01" + bytes(6)
LIMIT_S = 0.5


def exactly(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = sock.recv(size - len(data))
        if not piece:
            raise ConnectionError
        data += piece
    return data


def destination(
    client: socket.socket,
    say: Callable[[bytes], None],
    limit: float | None = None,
    families: Container[int] = (1, 4),
) -> socket.socket:
    """The connection that a client asks for. Raises TimeoutError after `limit` seconds, LookupError
    for an address type that is not one of `families`."""
    _, number = exactly(client, 2)
    exactly(client, number)
    say(b"\x05\x00")
    _, _, _, kind = exactly(client, 4)
    if kind not in families:
        raise LookupError
    family, size = (socket.AF_INET, 4) if kind == 1 else (socket.AF_INET6, 16)
    address = socket.inet_ntop(family, exactly(client, size))
    port = int.from_bytes(exactly(client, 2), "big")
    return socket.create_connection((address, port), timeout=limit)


def relay(client: socket.socket, far: socket.socket) -> None:
    other = {client: far, far: client}
    while other:
        for ready in select.select(list(other), [], [])[0]:
            data = ready.recv(1 << 16)
            other[ready].sendall(data) if data else other.pop(ready).shutdown(socket.SHUT_WR)


def drip(client: socket.socket) -> None:
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def say(data: bytes) -> None:
        for byte in data:
            client.send(bytes((byte,)))
            time.sleep(0.001)

    far = destination(client, say)
    say(REPLY)
    relay(client, far)


def joined(client: socket.socket) -> None:
    far = destination(client, client.sendall)
    client.sendall(REPLY + far.recv(1 << 16))
    relay(client, far)


def garbage(client: socket.socket) -> None:
    client.recv(1)
    client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def never(client: socket.socket) -> None:
    while client.recv(100):
        pass


def excess(client: socket.socket) -> None:
    while True:
        client.sendall(b"\x05\x00" * 1000)


def serve(address: str, port: int, behaviour: Callable[[socket.socket], None]) -> None:
    listener = socket.create_server((address, port), backlog=100)

    def handle(client: socket.socket) -> None:
        with client:
            try:
                behaviour(client)
            except OSError:
                return

    def accept() -> None:
        while True:
            client, _ = listener.accept()
            threading.Thread(target=handle, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def limited(client: socket.socket) -> None:
    try:
        far = destination(client, client.sendall, LIMIT_S)
    except TimeoutError:
        client.sendall(HOST_UNREACHABLE)
        return
    far.settimeout(None)
    client.sendall(REPLY)
    relay(client, far)


def v4_only(client: socket.socket) -> None:
    try:
        far = destination(client, client.sendall, families={1})
    except LookupError:
        client.sendall(TYPE_NOT_SUPPORTED)
        return
    client.sendall(REPLY)
    relay(client, far)


def main() -> None:
    address, *ports = sys.argv[1:]
    behaviours = (drip, joined, garbage, never, excess, limited, v4_only)
    for port, behaviour in zip(ports, behaviours, strict=True):
        serve(address, int(port), behaviour)
    print("listening", flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
