"""Shared by the tests about UDP: datagrams, and readers of the packets that result."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from router.platform.base.sockets import NetworkError
from tests.unit.engine.udp.memory import MemoryUdpSocket
from tests.unit.engine.world import World, far
from tests.unit.wire.packets import INSIDE, IP, UDP, IPv6, Packet, Raw, decoded

OFFICE, HOME, HOME2 = 4, 9, 10
BOTH = pytest.mark.parametrize("version", [4, 6])
PORT_UNREACHABLE = {4: (3, 3), 6: (1, 4)}
PROHIBITED = {4: (3, 13), 6: (1, 1)}
TIME_EXCEEDED = {4: (11, 0), 6: (3, 0)}
TOO_BIG = {4: (3, 4), 6: (2, 0)}
NETWORK_UNREACHABLE = {4: (3, 0), 6: (1, 0)}
LOCAL_HOST = {4: "10.1.0.2", 6: "fd01::2"}


def datagram(
    version: int,
    host: int = HOME,
    payload: bytes = b"hello",
    *,
    source: str | None = None,
    sport: int = 4000,
    dport: int = 7,
    hop_limit: int = 64,
    traffic_class: int = 0,
    dont_fragment: bool = True,
    chksum: int | None = None,
) -> bytes:
    body = UDP(sport=sport, dport=dport, chksum=chksum) / Raw(payload)
    source = source or INSIDE[version]
    if version == 4:
        flags = "DF" if dont_fragment else 0
        header = IP(src=source, dst=far(4, host), ttl=hop_limit, tos=traffic_class, flags=flags)
        return bytes(header / body)
    return bytes(IPv6(src=source, dst=far(6, host), hlim=hop_limit, tc=traffic_class) / body)


def only_socket(world: World) -> MemoryUdpSocket:
    (sock,) = world.udp.open
    return sock


def endpoint(version: int, host: int = HOME, port: int = 7) -> tuple[str, int]:
    return far(version, host), port


def to(version: int) -> tuple[bytes, int]:
    return ip_address(far(version, HOME)).packed, 7


def error_in(packets: list[bytes]) -> tuple[Packet, tuple[int, int], bytes]:
    """The one ICMP error among `packets`: as scapy reads it, its type and code, its quote."""
    (packet,) = packets
    read = decoded(packet)
    message = bytes(read.payload)
    return read, (message[0], message[1]), message[8:]


def reported(
    version: int, what: tuple[int, int], offender: str, payload: bytes = b"hello", value: int = 0
) -> NetworkError:
    return NetworkError(ip_address(offender).packed, *what, value, *to(version), payload, 60, 0xC0)
