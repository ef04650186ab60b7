"""What the tests about TCP in memory share: a request, a dial that has succeeded, a connection."""

from __future__ import annotations

from ipaddress import ip_address

from tests.unit.engine.memory_tcp import MemoryListener, MemoryStream, MemoryTcp
from tests.unit.engine.world import World, far
from tests.unit.wire.packets import INSIDE, IP, TCP, IPv6, Packet, decoded

HOME = 9
Worlds = tuple[World, MemoryTcp]


def segment(
    version: int, flags: str = "S", *, sport: int = 4000, seq: int = 100, payload: bytes = b""
) -> bytes:
    """What an application sends to a host of the home network."""
    body = TCP(sport=sport, dport=80, flags=flags, seq=seq) / payload
    if version == 4:
        return bytes(IP(src=INSIDE[4], dst=far(4, HOME), flags="DF") / body)
    return bytes(IPv6(src=INSIDE[6], dst=far(6, HOME)) / body)


def dialled(worlds: Worlds, version: int, sport: int = 4000) -> tuple[MemoryStream, list[Packet]]:
    """A dial that has succeeded, and what went into the TUN then."""
    world, memory = worlds
    assert world.send(segment(version, sport=sport)) == []
    sock = memory.dialled[-1]
    sock.connected = True
    memory.change(sock)
    return sock, [decoded(packet) for packet in world.tun.written]


def established(worlds: Worlds, version: int) -> tuple[MemoryStream, MemoryStream]:
    """The outer and the inner socket of a connection."""
    outer, (request,) = dialled(worlds, version)
    memory = worlds[1]
    listener = listener_of(memory, request)
    return outer, memory.connect(listener, (request.src, request[TCP].sport))


def listener_of(memory: MemoryTcp, request: Packet) -> MemoryListener:
    """Whom a request that went into the TUN is to."""
    name = ip_address(request.dst).packed + request[TCP].dport.to_bytes(2, "big")
    (listener,) = [each for each in memory.listeners if each.name == name]
    return listener
