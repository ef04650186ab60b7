"""A flood from one host: packets of one kind at a fixed rate, for a bounded time.

Run as a process of its own, in a namespace whose route leads to the router:

    python -m bench.flood_sender syn 198.51.100.1 --source 10.1.0.2 --rate 5000 --seconds 6

It prints "ready" when it begins, and at the end one JSON object: the packets that were sent, and
how long that took.

Always true: bounded in time and in rate; packets are made before the first is sent, and are sent
again and again.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import socket
import time
from ipaddress import ip_address
from typing import Final

from bench.flood_packets import KINDS
from router.platform.families import FAMILY

TURN_S: Final = 0.002
MOST_SECONDS: Final = 30.0


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):
    """struct msghdr (sendmsg(2)), for a connected socket."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint),
        ("vectors", ctypes.POINTER(_Vector)),
        ("number", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):
    """struct mmsghdr (sendmmsg(2))."""

    _fields_ = (("header", _Header), ("sent", ctypes.c_uint))


class Batch:
    """Packets as sendmmsg(2) takes them."""

    def __init__(self, packets: list[bytes]) -> None:
        number = len(packets)
        self._packets = [ctypes.create_string_buffer(packet, len(packet)) for packet in packets]
        self._vectors = (_Vector * number)()
        self._messages = (_Message * number)()
        for at, packet in enumerate(self._packets):
            self._vectors[at] = _Vector(ctypes.addressof(packet), len(packet))
            self._messages[at].header.vectors = ctypes.pointer(self._vectors[at])
            self._messages[at].header.number = 1
        self._send = ctypes.CDLL(None, use_errno=True).sendmmsg

    def send(self, sock: socket.socket, first: int, number: int) -> int:
        """So many from `first` on, around the end; how many were sent."""
        at = first % len(self._packets)
        number = min(number, len(self._packets) - at)
        where = ctypes.byref(self._messages, at * ctypes.sizeof(_Message))
        return max(0, int(self._send(sock.fileno(), where, number, 0)))


def flood(batch: Batch, sock: socket.socket, rate: float, seconds: float) -> tuple[int, float]:
    """Packets sent, and seconds."""
    start = now = time.perf_counter()
    sent = due = 0
    while now < start + seconds:
        missing = int((now - start) * rate) - due
        if missing:
            sent += batch.send(sock, due, missing)
            due += missing
        time.sleep(TURN_S)
        now = time.perf_counter()
    return sent, now - start


def main() -> None:
    parser = argparse.ArgumentParser(description="A flood, bounded in time.")
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("address")
    parser.add_argument("--source", required=True)
    parser.add_argument("--rate", type=float, required=True, help="packets a second")
    parser.add_argument("--seconds", type=float, default=6.0)
    options = parser.parse_args()
    source, destination = ip_address(options.source), ip_address(options.address)
    batch = Batch(list(KINDS[options.kind](source.packed, destination.packed)))
    family = FAMILY[destination.version]
    with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        sock.connect((options.address, 0))
        print("ready", flush=True)
        sent, took = flood(batch, sock, options.rate, min(options.seconds, MOST_SECONDS))
    print(json.dumps({"sent": sent, "seconds": took}))


if __name__ == "__main__":
    main()
