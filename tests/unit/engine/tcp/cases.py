"""Shared by the tests about TCP in memory: a request, a dial that has succeeded, a connection."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from router.engine.reload.reevaluate import Reevaluation
from tests.unit.engine.tcp.memory import MemoryListener, MemoryStream, MemoryTcp
from tests.unit.engine.world import World, far
from tests.unit.wire.packets import INSIDE, IP, TCP, IPv6, Packet, decoded

HOME = 9
LAN = {4: "10.1.0.2", 6: "fd01::2"}
"""Another machine; INSIDE is an address of this one."""
Worlds = tuple[World, MemoryTcp]
ALL_END = cast(Reevaluation, SimpleNamespace(divide=lambda flows: (0, list(flows))))
"""Other rules, by which no flow goes on."""


def tcp_world(directory: Path, most: int = 100) -> Worlds:
    """A world and its TCP, at most `most` connections."""
    world = World(directory, most=most)
    return world, world.tcp


def segment(
    version: int,
    flags: str = "S",
    *,
    sport: int = 4000,
    seq: int = 100,
    acknowledges: int = 0,
    payload: bytes = b"",
    source: Mapping[int, str] = INSIDE,
    traffic_class: int = 0,
) -> bytes:
    """What an application sends to a host of the home network."""
    body = TCP(sport=sport, dport=80, flags=flags, seq=seq, ack=acknowledges) / payload
    if version == 4:
        return bytes(IP(src=source[4], dst=far(4, HOME), flags="DF", tos=traffic_class) / body)
    return bytes(IPv6(src=source[6], dst=far(6, HOME), tc=traffic_class) / body)


def dialled(
    worlds: Worlds, version: int, sport: int = 4000, source: Mapping[int, str] = INSIDE
) -> tuple[MemoryStream, list[Packet]]:
    """A dial that has succeeded, and the packets that were then written to the TUN."""
    world, memory = worlds
    assert world.send(segment(version, sport=sport, source=source)) == []
    sock = memory.dialled[-1]
    sock.connected = True
    memory.change(sock)
    return sock, [decoded(packet) for packet in world.tun.written]


def established(
    worlds: Worlds, version: int, source: Mapping[int, str] = INSIDE
) -> tuple[MemoryStream, MemoryStream]:
    """The outer and the inner socket of a connection."""
    outer, (request,) = dialled(worlds, version, source=source)
    memory = worlds[1]
    listener = listener_of(memory, request)
    return outer, memory.connect(listener, (request.src, request[TCP].sport))


def listener_of(memory: MemoryTcp, request: Packet) -> MemoryListener:
    """The listener that a request written to the TUN is addressed to."""
    name = ip_address(request.dst).packed + request[TCP].dport.to_bytes(2, "big")
    (listener,) = [each for each in memory.listeners if each.name == name]
    return listener


def answer_to(request: Packet, flags: str) -> bytes:
    """A segment of our kernel for what was written to the TUN."""
    body = TCP(sport=request[TCP].dport, dport=request[TCP].sport, flags=flags, seq=500)
    header = type(request)(src=request.dst, dst=request.src)
    return bytes(header / body)
