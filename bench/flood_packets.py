"""The packets of floods, by their kind, of both families.

Always true: each kind has NUMBER different packets, whole, with right checksums.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Final

from router.wire import icmp, ip, tcp, udp
from router.wire.checksum import checksum, pseudo_header

NUMBER: Final = 1 << 16
OPEN_PORT: Final = 5201
ECHO: Final = {4: icmp.ECHO_REQUEST, 6: icmp.ECHO_REQUEST_V6}


def syns(source: bytes, destination: bytes, port: int | None) -> Iterator[bytes]:
    """To one port, or to all; each from another port."""
    for number in range(NUMBER):
        ends = 1024 + number % 64_000, port or 1 + number % 65_000
        body = struct.pack("!HHIIBBHHH", *ends, number * 7919, 0, 0x50, tcp.SYN, 65535, 0, 0)
        total = checksum(body, pseudo_header(source, destination, len(body), ip.TCP))
        body = body[:16] + total.to_bytes(2, "big") + body[18:]
        yield ip.build(source, destination, ip.TCP, body)


def echoes(source: bytes, destination: bytes) -> Iterator[bytes]:
    """Of all identifiers."""
    kind = ECHO[_version(source)]
    for number in range(NUMBER):
        yield _message(source, destination, struct.pack("!BBHHH8x", kind, 0, 0, number, 1))


def fragments(source: bytes, destination: bytes) -> Iterator[bytes]:
    """Of 8 bytes, of datagrams that never get whole."""
    for number in range(NUMBER):
        block, datagram = number % 4096 + 1, number >> 12
        if _version(source) == 4:
            yield ip.build(
                *(source, destination, ip.UDP, bytes(8)),
                flags=ip.MORE_FRAGMENTS | block,
                identification=datagram,
            )
        else:
            header = struct.pack("!BxHI", ip.UDP, block << 3 | 1, datagram)
            yield ip.build(source, destination, ip.FRAGMENT, header + bytes(8))


def datagrams(source: bytes, destination: bytes) -> Iterator[bytes]:
    """To all ports."""
    for number in range(NUMBER):
        envelope = udp.Envelope(source, 1024 + number % 7, destination, number or 1)
        yield envelope.seal(bytes(8), 64)


def errors(source: bytes, destination: bytes) -> Iterator[bytes]:
    """About datagrams that were never sent."""
    kind, code = icmp.Error.PORT_UNREACHABLE.type_and_code(_version(source))
    for number in range(NUMBER):
        about = udp.Envelope(destination, number or 1, source, 9).seal(bytes(8), 64)
        yield _message(source, destination, struct.pack("!BBHI", kind, code, 0, 0) + about)


KINDS: Final[dict[str, Callable[[bytes, bytes], Iterator[bytes]]]] = {
    "syn": lambda source, destination: syns(source, destination, None),
    "syn-open": lambda source, destination: syns(source, destination, OPEN_PORT),
    "echo": echoes,
    "fragment": fragments,
    "udp": datagrams,
    "error": errors,
}


def _message(source: bytes, destination: bytes, body: bytes) -> bytes:
    version = _version(source)
    whole = icmp.message(version, source, destination, body)
    return ip.build(source, destination, icmp.protocol_of(version), whole)


def _version(address: bytes) -> int:
    return 4 if len(address) == 4 else 6
