"""The baseline: an echo router as one would write it in an afternoon.

It reads a TUN, parses each packet with scapy, opens a raw socket for each ping, and builds the
answer with scapy. It is here to be measured against, is no part of the router, and is honest in
what it does: requests do leave by the interface that is named, replies are matched to requests.

    python -m bench.scapy_loop TUN ADDRESS/PREFIX INTERFACE        prints "ready"
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
import subprocess
import sys
import time
from dataclasses import dataclass

from scapy.layers.inet import ICMP, IP

from router.platform.linux.only_on_linux import SO_BINDTODEVICE

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
ECHO_REQUEST, ECHO_REPLY = 8, 0
PATIENCE_S = 2.0


@dataclass(frozen=True)
class Waiting:
    """A ping on its way: the request as it came out of the TUN, and the socket made for it."""

    request: IP
    socket: socket.socket
    since: float


def open_tun(name: str, address: str) -> int:
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    subprocess.run(["ip", "addr", "add", address, "dev", name], check=True)
    subprocess.run(["ip", "link", "set", name, "up"], check=True)
    return tun


def forward(packet: bytes, interface: str) -> Waiting | None:
    """Sends an echo request on by a socket of its own; None for anything else."""
    request = IP(packet)
    if ICMP not in request or request[ICMP].type != ECHO_REQUEST:
        return None
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    raw.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, interface.encode())
    raw.connect((request.dst, 0))
    raw.send(bytes(request[ICMP]))
    return Waiting(request, raw, time.monotonic())


def answer(waiting: Waiting) -> bytes | None:
    """The packet for the TUN if what the socket received is the answer to its request."""
    request = waiting.request
    reply = IP(waiting.socket.recv(65535))
    if ICMP not in reply or reply[ICMP].type != ECHO_REPLY:
        return None
    if (reply[ICMP].id, reply[ICMP].seq) != (request[ICMP].id, request[ICMP].seq):
        return None
    return bytes(IP(src=request.dst, dst=request.src, ttl=reply.ttl) / reply[ICMP])


def run(tun: int, interface: str) -> None:
    pings: dict[int, Waiting] = {}
    while True:
        ready, _, _ = select.select([tun, *pings], [], [], PATIENCE_S)
        for descriptor in ready:
            if descriptor == tun:
                waiting = forward(os.read(tun, 65535), interface)
                if waiting is not None:
                    pings[waiting.socket.fileno()] = waiting
            elif (packet := answer(pings[descriptor])) is not None:
                os.write(tun, packet)
                pings.pop(descriptor).socket.close()
        _give_up(pings)


def _give_up(pings: dict[int, Waiting]) -> None:
    """Closes the sockets of pings without an answer; the oldest stand first."""
    now = time.monotonic()
    for descriptor, waiting in list(pings.items()):
        if now - waiting.since < PATIENCE_S:
            return
        pings.pop(descriptor).socket.close()


def main() -> None:
    name, address, interface = sys.argv[1:]
    tun = open_tun(name, address)
    print("ready", flush=True)
    run(tun, interface)


if __name__ == "__main__":
    main()
