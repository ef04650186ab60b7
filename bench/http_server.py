"""The far end of bench.socks: answers HTTP requests at all addresses of a port, by a thread each.

    python -m bench.http_server PORT

GET /stream   bytes, for as long as the client reads
PUT           all bytes are read
other         an empty answer, and the end of the connection

It prints `listening` when it does.
"""

from __future__ import annotations

import socket
import sys
from contextlib import suppress
from threading import Thread

CHUNK = bytes(1 << 20)
EMPTY = b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"
STREAM = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def answer(client: socket.socket) -> None:
    """One request, and the end of its connection."""
    with client, suppress(OSError):
        head = b""
        while b"\r\n\r\n" not in head:
            piece = client.recv(4096)
            if not piece:
                return
            head += piece
        if head.startswith(b"GET /stream "):
            client.sendall(STREAM)
            while True:
                client.sendall(CHUNK)
        elif head.startswith(b"PUT "):
            client.sendall(CONTINUE)
            buffer = bytearray(1 << 20)
            while client.recv_into(buffer):
                pass
        else:
            client.sendall(EMPTY)


def main() -> None:
    with socket.create_server(("", int(sys.argv[1])), backlog=512) as listener:
        print("listening", flush=True)
        while True:
            client, _ = listener.accept()
            Thread(target=answer, args=(client,), daemon=True).start()


if __name__ == "__main__":
    main()
