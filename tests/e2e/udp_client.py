"""What a UDP application sees, run as a process of its own in a namespace:

    python tests/e2e/udp_client.py '{"address": "198.51.100.1", "port": 7, "sends": ["00ff"], ...}'

It prints one JSON object: for each datagram that was received, or error that was raised, in order,
what it was. Options (all but address and port have defaults):

    sends       payloads in hexadecimal, or lengths to be filled with a pattern
    connect     whether the socket is connected, so that it is told of errors
    source_port to bind to; 0: any
    hop_limit, traffic_class    to send with; 0: the system's
    dont_fragment               to be asked for
    expect      how many answers or errors to wait for, for each send
    patience    seconds to wait for each
"""

from __future__ import annotations

import errno
import hashlib
import json
import socket
import struct
import sys
from typing import Any

IP_RECVTTL, IP_RECVTOS = 12, 13
IP_MTU_DISCOVER, IP_PMTUDISC_DONT, IP_PMTUDISC_PROBE = 10, 0, 3
IPV6_DONTFRAG = 62
DEFAULTS = {
    "sends": [5],
    "connect": True,
    "source_port": 0,
    "hop_limit": 0,
    "traffic_class": 0,
    "dont_fragment": False,
    "expect": 1,
    "patience": 10.0,
}


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
    if options["source_port"]:
        sock.bind(("", options["source_port"]))
    if options["connect"]:
        sock.connect((options["address"], options["port"]))
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


def seen(sock: socket.socket) -> dict[str, Any] | str:
    try:
        return received(sock)
    except TimeoutError:
        return "silence"
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def main() -> None:
    options = DEFAULTS | json.loads(sys.argv[1])
    found: list[dict[str, Any] | str] = []
    with opened(options) as sock:
        sock.settimeout(options["patience"])
        for wanted in options["sends"]:
            try:
                sock.sendto(payload(wanted), (options["address"], options["port"]))
            except OSError as error:
                found.append(errno.errorcode[error.errno or 0])
                continue
            found += [seen(sock) for _ in range(options["expect"])]
        print(json.dumps({"source": sock.getsockname()[:2], "found": found}))


if __name__ == "__main__":
    main()
