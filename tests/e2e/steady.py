"""Streams at a steady rate, for what shows rates.

steady.py listen PORT                       discards what it gets, and sends a tenth back
steady.py send ADDRESS PORT BYTES_PER_S     until it is terminated
"""

from __future__ import annotations

import socket
import sys
import threading
import time

PIECE_S = 0.05


def listen(port: int) -> None:
    with socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        print("listening", flush=True)
        while True:
            threading.Thread(target=answer, args=[server.accept()[0]], daemon=True).start()


def answer(sock: socket.socket) -> None:
    with sock:
        while received := sock.recv(1 << 16):
            sock.sendall(received[::10])


def send(address: str, port: int, rate: int) -> None:
    with socket.create_connection((address, port)) as sock:
        threading.Thread(target=discard, args=[sock], daemon=True).start()
        while True:
            sock.sendall(bytes(int(rate * PIECE_S)))
            time.sleep(PIECE_S)


def discard(sock: socket.socket) -> None:
    while sock.recv(1 << 16):
        pass


if __name__ == "__main__":
    if sys.argv[1] == "listen":
        listen(int(sys.argv[2]))
    else:
        send(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
