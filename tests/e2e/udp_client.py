"""What a UDP application sees, run as a process of its own in a namespace:

    python tests/e2e/udp_client.py '{"address": "198.51.100.1", "port": 7, "sends": ["00ff"], ...}'

It prints one JSON object: where it sent from, and for each datagram that was received, or error
that was raised, in order, what it was. Options (all but address and port have defaults):

    sends       payloads in hexadecimal, or lengths to be filled with a pattern
    sockets     how many send all that, side by side; what they found is concatenated
    connect     whether the socket is connected, so that it gets errors
    report      whether it gets every error with its sender (IP_RECVERR)
    source      address to bind to, also one of no interface; empty: any
    source_port to bind to; 0: any
    hop_limit, traffic_class    to send with; 0: the system's
    dont_fragment               to be set
    expect      how many answers or errors to wait for, for each send
    patience    seconds to wait for each
    late        whether to be a server that answers late: wait for a datagram, print `received`, and
                send to its sender after SIGUSR1; of `address` the family counts
"""

from __future__ import annotations

import errno
import hashlib
import json
import signal
import socket
import struct
import sys
from typing import Any

IP_MTU_DISCOVER, IP_RECVERR, IP_RECVTTL, IP_RECVTOS = 10, 11, 12, 13
IP_PMTUDISC_DONT, IP_PMTUDISC_PROBE = 0, 3
IP_FREEBIND = 15
MSG_ERRQUEUE = 0x2000
IPV6_RECVERR, IPV6_DONTFRAG, IPV6_FREEBIND = 25, 62, 78
DEFAULTS = {
    "sends": [5],
    "sockets": 1,
    "connect": True,
    "report": False,
    "source": "",
    "source_port": 0,
    "hop_limit": 0,
    "traffic_class": 0,
    "dont_fragment": False,
    "expect": 1,
    "patience": 10.0,
    "late": False,
}

Found = dict[str, Any] | str


def payload(wanted: str | int) -> bytes:
    if isinstance(wanted, str):
        return bytes.fromhex(wanted)
    return (bytes(range(256)) * (wanted // 256 + 1))[:wanted]


def opened(options: dict[str, Any]) -> socket.socket:
    six = ":" in options["address"]
    sock = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
    level = socket.IPPROTO_IPV6 if six else socket.IPPROTO_IP
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
    for option in (
        (socket.IPV6_RECVHOPLIMIT, socket.IPV6_RECVTCLASS) if six else (IP_RECVTTL, IP_RECVTOS)
    ):
        sock.setsockopt(level, option, 1)
    sock.setsockopt(level, IPV6_RECVERR if six else IP_RECVERR, int(options["report"]))
    for name, option in (
        ("hop_limit", socket.IPV6_UNICAST_HOPS if six else socket.IP_TTL),
        ("traffic_class", socket.IPV6_TCLASS if six else socket.IP_TOS),
    ):
        if options[name]:
            sock.setsockopt(level, option, options[name])
    if six:
        sock.setsockopt(level, IPV6_DONTFRAG, int(options["dont_fragment"]))
    else:
        how = IP_PMTUDISC_PROBE if options["dont_fragment"] else IP_PMTUDISC_DONT
        sock.setsockopt(level, IP_MTU_DISCOVER, how)
    if options["source"] or options["source_port"]:
        sock.setsockopt(level, IPV6_FREEBIND if six else IP_FREEBIND, 1)
        sock.bind((options["source"], options["source_port"]))
    if options["connect"]:
        sock.connect((options["address"], options["port"]))
    sock.settimeout(options["patience"])
    return sock


def received(sock: socket.socket) -> dict[str, Any]:
    data, ancillary, _, sender = sock.recvmsg(65535, 200)
    fields = {kind: value for _, kind, value in ancillary}
    six = sock.family == socket.AF_INET6
    hop_limit = fields[socket.IPV6_HOPLIMIT if six else socket.IP_TTL]
    traffic_class = fields[socket.IPV6_TCLASS if six else socket.IP_TOS]
    return {
        "length": len(data),
        "digest": hashlib.sha256(data).hexdigest(),
        "sender": sender[:2],
        "hop_limit": struct.unpack("=i", hop_limit)[0],
        "traffic_class": traffic_class[0],
    }


def reported(sock: socket.socket, name: str) -> Found:
    """The error with its sender, type, code, value, and what it quotes (linux/errqueue.h)."""
    try:
        quoted, ancillary, _, destination = sock.recvmsg(65535, 500, MSG_ERRQUEUE)
    except BlockingIOError:
        return name
    six = sock.family == socket.AF_INET6
    values = {kind: value for _, kind, value in ancillary}
    report = values[IPV6_RECVERR if six else IP_RECVERR]
    _, _, kind, code, value, _ = struct.unpack_from("=IBBBxII", report)
    offender = report[24:40] if six else report[20:24]
    return {
        "error": name,
        "offender": socket.inet_ntop(sock.family, offender),
        "kind": kind,
        "code": code,
        "value": value,
        "destination": destination[:2],
        "quoted": quoted.hex(),
    }


def seen(sock: socket.socket, options: dict[str, Any]) -> Found:
    try:
        return received(sock)
    except TimeoutError:
        return "silence"
    except OSError as error:
        name = errno.errorcode[error.errno or 0]
        return reported(sock, name) if options["report"] else name


def exchanged(sock: socket.socket, wanted: str | int, options: dict[str, Any]) -> list[Found]:
    return [seen(sock, options) for _ in range(options["expect"])]


def send(sock: socket.socket, wanted: str | int, options: dict[str, Any]) -> None:
    """Once more where an error that was waiting is raised in place of sending."""
    to = (options["address"], options["port"])
    try:
        sock.sendto(payload(wanted), to)
    except OSError:
        sock.sendto(payload(wanted), to)


def late_server(options: dict[str, Any]) -> list[socket.socket]:
    """A server's socket that is connected to the sender of a datagram, when the answer is due."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    sock = opened(options | {"connect": False})
    print("waiting", flush=True)
    _, sender = sock.recvfrom(65535)
    options["address"], options["port"] = sender[:2]
    sock.connect(sender)
    print("received", flush=True)
    signal.sigwait({signal.SIGUSR1})
    return [sock]


def main() -> None:
    options = DEFAULTS | json.loads(sys.argv[1])
    found: list[Found] = []
    if options["late"]:
        sockets = late_server(options)
    else:
        sockets = [opened(options) for _ in range(options["sockets"])]
    for wanted in options["sends"]:
        for sock in sockets:
            send(sock, wanted, options)
        for sock in sockets:
            found += exchanged(sock, wanted, options)
    print(json.dumps({"sources": [sock.getsockname()[:2] for sock in sockets], "found": found}))


if __name__ == "__main__":
    main()
