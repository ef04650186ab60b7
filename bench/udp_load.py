"""A load of UDP datagrams, and the far end of it; each a process of its own.

    python -m bench.udp_load far 198.51.100.1                   the far end; prints `listening`
    python -m bench.udp_load up 198.51.100.1 --seconds 2        as fast as it goes, to the far end
    python -m bench.udp_load down 198.51.100.1 --seconds 2      as fast as the far end can, from it
    python -m bench.udp_load echo 198.51.100.1 --window 32      a fixed number there and back

The last three print one JSON object: datagrams sent, delivered, and delivered a second.

Always true: only what has arrived counts; everything is bounded in time. A datagram that is lost
is not waited for: an echo makes room for another after LOST_AFTER_S.
"""

from __future__ import annotations

import argparse
import json
import socket
import struct
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass

PORT = 5201
BUFFER_BYTES = 4 << 20
AT_ONCE = 64
LOST_AFTER_S = 0.2
PATIENCE_S = 5.0

LOAD, COUNT, FLOOD, ECHO, END = b"LCFEX"
"""The first byte of a datagram: to be counted, requests the count, requests a flood, to be sent
back, ends a flood."""
FLOOD_WANTED = struct.Struct("!BdH")
COUNTED = struct.Struct("!Q")


@dataclass(frozen=True)
class Result:
    """`rate` is in datagrams delivered a second."""

    sent: int
    delivered: int
    rate: float


def far_end(address: str) -> None:
    sock = _socket(address)
    sock.bind((address, PORT))
    print("listening", flush=True)
    counted = 0
    buffer = bytearray(65536)
    receive = sock.recvfrom_into
    while True:
        size, sender = receive(buffer)
        kind = buffer[0] if size else LOAD
        if kind == LOAD:
            counted += 1
        elif kind == ECHO:
            sock.sendto(memoryview(buffer)[:size], sender)
        elif kind == COUNT:
            sock.sendto(COUNTED.pack(counted), sender)
        elif kind == FLOOD:
            _, seconds, length = FLOOD_WANTED.unpack(buffer[:size])
            with _connected(sock, sender) as flood, suppress(ConnectionRefusedError):
                _flood(flood, seconds, length)  # refused: who wanted it is gone


def up(address: str, seconds: float, size: int, flows: int) -> Result:
    sock = _client(address)
    before = _counted(sock)
    began = time.perf_counter()
    if flows == 1:
        sent = _flood(sock, seconds, size)
    else:
        sent = _flood_in_turn([_client(address) for _ in range(flows)], seconds, size)
    took = time.perf_counter() - began
    delivered = _settled_count(sock) - before
    return Result(sent, delivered, delivered / took)


def down(address: str, seconds: float, size: int) -> Result:
    sock = _client(address)
    _counted(sock)  # the flow is there
    sock.send(FLOOD_WANTED.pack(FLOOD, seconds, size))
    sock.settimeout(PATIENCE_S)
    buffer = bytearray(65536)
    receive = sock.recv_into
    receive(buffer)
    delivered = 1
    began = last = time.perf_counter()
    sock.settimeout(LOST_AFTER_S)
    try:
        while True:
            receive(buffer)
            if buffer[0] == END:
                break
            delivered += 1
            last = time.perf_counter()
    except TimeoutError:
        pass  # the end itself was lost
    return Result(0, delivered, delivered / max(last - began, 1e-9))


def echo(address: str, seconds: float, size: int, window: int) -> Result:
    sock = _client(address)
    _counted(sock)
    sock.settimeout(LOST_AFTER_S)
    request = bytes((ECHO,)).ljust(size, b"e")
    sent = delivered = 0
    clock = time.perf_counter
    began = clock()
    end = began + seconds
    while clock() < end:
        for _ in range(window):
            sock.send(request)
        sent += window
        try:
            while True:  # one for one, until they stop coming
                sock.recv(65536)
                delivered += 1
                if clock() >= end:
                    break
                sock.send(request)
                sent += 1
        except TimeoutError:
            continue
    return Result(sent, delivered, delivered / (clock() - began))


def _flood(sock: socket.socket, seconds: float, size: int) -> int:
    data = bytes((LOAD,)).ljust(size, b"l")
    send = sock.send
    sent = 0
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for _ in range(AT_ONCE):
            send(data)
        sent += AT_ONCE
    for _ in range(AT_ONCE):
        send(bytes((END,)))
    return sent


def _flood_in_turn(sockets: Sequence[socket.socket], seconds: float, size: int) -> int:
    """A datagram by each socket in turn."""
    data = bytes((LOAD,)).ljust(size, b"l")
    sends = [sock.send for sock in sockets]
    sent = 0
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for _ in range(AT_ONCE):
            for send in sends:
                send(data)
        sent += AT_ONCE * len(sends)
    return sent


def _settled_count(sock: socket.socket) -> int:
    """The far end's count when all that was on its way has arrived."""
    counts = [-1, _counted(sock)]
    while counts[-1] != counts[-2]:
        counts.append(_counted(sock))
    return counts[-1]


def _counted(sock: socket.socket) -> int:
    """The far end's count; requested until an answer arrives."""
    sock.settimeout(LOST_AFTER_S)
    for _ in range(round(PATIENCE_S / LOST_AFTER_S)):
        sock.send(bytes((COUNT,)))
        try:
            while True:
                answer = sock.recv(65536)
                if len(answer) == COUNTED.size:
                    return int(COUNTED.unpack(answer)[0])
        except TimeoutError:
            continue
    raise SystemExit("the far end does not answer")


def _client(address: str) -> socket.socket:
    sock = _socket(address)
    sock.connect((address, PORT))
    return sock


def _connected(bound: socket.socket, peer: tuple[object, ...]) -> socket.socket:
    """The same socket once more, for sends without an address."""
    sock = _socket(bound.getsockname()[0], reuse=True)
    sock.bind(bound.getsockname())
    sock.connect(peer)
    return sock


def _socket(address: str, *, reuse: bool = True) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        sock.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
    if reuse:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return sock


def main() -> None:
    parser = argparse.ArgumentParser(description="A load of UDP datagrams, and its far end.")
    parser.add_argument("what", choices=["far", "up", "down", "echo"])
    parser.add_argument("address")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--window", type=int, default=32)
    parser.add_argument("--flows", type=int, default=1)
    options = parser.parse_args()
    if options.what == "far":
        far_end(options.address)
        return
    if options.what == "up":
        result = up(options.address, options.seconds, options.size, options.flows)
    elif options.what == "down":
        result = down(options.address, options.seconds, options.size)
    else:
        result = echo(options.address, options.seconds, options.size, options.window)
    print(json.dumps(asdict(result)))


if __name__ == "__main__":
    main()
