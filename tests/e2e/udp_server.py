"""UDP servers at every address of a namespace, run as a process of their own there:

    python tests/e2e/udp_server.py ECHO_PORT DNS_PORT OTHER_PORT

- ECHO_PORT echoes each datagram, whatever its length, from the address it was sent to.
- DNS_PORT answers every A and AAAA query of DNS with 192.0.2.53 and 2001:db8::53 (RFC 1035), by
  UDP and by TCP.
- OTHER_PORT answers from the port above it: same host, another port. What it is sent beginning with
  an address (`198.51.100.9 text`) it answers from that address.

It prints `listening` when it does. An answer has the traffic class of its request.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
import threading
from collections.abc import Callable

IPV6_FREEBIND = 78  # linux/in6.h; the far hosts' addresses stand in a route, not on an interface
IP_MTU_DISCOVER, IP_PMTUDISC_DONT, IP_RECVTOS = 10, 0, 13
IPV6_MTU = 24
BUFFER = 4 << 20
PATIENCE = 5.0
HEADER = struct.Struct("!HHHHHH")
TYPES = {1: bytes((192, 0, 2, 53)), 28: socket.inet_pton(socket.AF_INET6, "2001:db8::53")}


def opened(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    for option in (socket.IPV6_RECVPKTINFO, IPV6_FREEBIND, socket.IPV6_RECVTCLASS):
        sock.setsockopt(socket.IPPROTO_IPV6, option, 1)
    sock.setsockopt(socket.IPPROTO_IP, IP_RECVTOS, 1)
    # Answers are fragmented here or on their path, not lost until its MTU is known.
    sock.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
    sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MTU, 1280)
    sock.bind(("::", port))
    return sock


Change = Callable[[bytes, bytes], tuple[bytes, bytes]]


def answer(sock: socket.socket, reply: socket.socket, change: Change) -> None:
    data, ancillary, _, sender = sock.recvmsg(65535, 200)
    source, traffic_class = bytes(16), 0
    for level, kind, value in ancillary:
        if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
            source = value[:16]
        elif (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_TCLASS):
            traffic_class = struct.unpack("=i", value)[0]
        elif (level, kind) == (socket.IPPROTO_IP, socket.IP_TOS):
            traffic_class = value[0]
    try:
        data, source = change(data, source)
    except (ValueError, KeyError, struct.error):
        return  # not a query: what traceroute sends to the port of DNS
    if sender[0].startswith("::ffff:"):
        field = (socket.IPPROTO_IP, socket.IP_TOS, struct.pack("=i", traffic_class))
    else:
        field = (socket.IPPROTO_IPV6, socket.IPV6_TCLASS, struct.pack("=i", traffic_class))
    info = (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, source + bytes(4))
    reply.sendmsg([data], [info, field], 0, sender)


def as_it_is(data: bytes, source: bytes) -> tuple[bytes, bytes]:
    return data, source


def dns_answer(data: bytes, source: bytes) -> tuple[bytes, bytes]:
    number, _, _, _, _, _ = HEADER.unpack_from(data)
    end = data.index(0, HEADER.size) + 5
    kind = struct.unpack_from("!H", data, end - 4)[0]
    record = b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 60, len(TYPES[kind])) + TYPES[kind]
    return HEADER.pack(number, 0x8580, 1, 1, 0, 0) + data[HEADER.size : end] + record, source


def from_elsewhere(data: bytes, source: bytes) -> tuple[bytes, bytes]:
    address, _, rest = data.partition(b" ")
    if not rest:
        return data, source
    host = address.decode()
    return data, socket.inet_pton(socket.AF_INET6, host if ":" in host else f"::ffff:{host}")


def serve_by_tcp(listener: socket.socket) -> None:
    """One query after the other, each of one connection (RFC 1035, section 4.2.2)."""
    while True:
        client, _ = listener.accept()
        with client, client.makefile("rb") as queries:
            client.settimeout(PATIENCE)
            try:
                (size,) = struct.unpack("!H", queries.read(2))
                data, _ = dns_answer(queries.read(size), b"")
                client.sendall(struct.pack("!H", len(data)) + data)
            except (OSError, ValueError, KeyError, struct.error):
                continue


def main() -> None:
    echo, dns, other = (opened(int(port)) for port in sys.argv[1:4])
    above = opened(int(sys.argv[3]) + 1)
    answers: dict[socket.socket, tuple[socket.socket, Change]] = {
        echo: (echo, as_it_is),
        dns: (dns, dns_answer),
        other: (above, from_elsewhere),
    }
    by_tcp = socket.create_server(
        ("::", int(sys.argv[2])), family=socket.AF_INET6, dualstack_ipv6=True
    )
    threading.Thread(target=serve_by_tcp, args=(by_tcp,), daemon=True).start()
    print("listening", flush=True)
    while True:
        for ready in select.select(list(answers), [], [])[0]:
            answer(ready, *answers[ready])


if __name__ == "__main__":
    main()
