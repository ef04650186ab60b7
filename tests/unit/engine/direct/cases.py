"""Shared by the tests about the direct path: a machine with three interfaces, frames as a TUN gives
them, and what has left unchanged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_interface
from pathlib import Path
from struct import unpack_from
from typing import Final

from router.config.loader import load
from router.policy.match.table import RuleSet
from router.policy.network import Interface
from router.wire import offload
from router.wire.headers import fill_in_v4_checksum
from tests.unit.engine.world import OWN, RULES, World, far
from tests.unit.wire.packets import IP, TCP, UDP, IPv6, Packet, decoded

HOME: Final = 9
OFFICE: Final = 4
LAN: Final = {4: "10.1.0.1", 6: "fd01::1"}
ETH0: Final = {4: OWN["eth0"][0], 6: OWN["eth0"][1]}
WG0: Final = {4: OWN["wg0"][0], 6: OWN["wg0"][1]}
TTL_AT: Final = {4: 8, 6: 7}
PROHIBITED: Final = {4: (3, 13), 6: (1, 1)}
NO_ROUTE: Final = {4: (3, 0), 6: (1, 0)}
TOO_BIG: Final = {4: (3, 4), 6: (2, 0)}
HOP_LIMIT: Final = {4: (11, 0), 6: (3, 0)}


def machine(mtu: int = 1500) -> Mapping[str, Interface]:
    """The interfaces of this machine. mtu: of eth0."""
    addresses = {"eth0": ETH0, "wg0": WG0, "lan0": LAN}
    return {
        name: Interface(
            name,
            index,
            True,
            mtu if name == "eth0" else 1420,
            tuple(ip_interface(address) for address in own.values()),
        )
        for index, (name, own) in enumerate(addresses.items(), 2)
    }


def direct_world(directory: Path, rules: str = RULES, mtu: int = 1500) -> World:
    return World(directory, rules, local=machine(mtu))


def header(
    version: int, source: Mapping[int, str] = ETH0, host: int = HOME, hops: int = 64
) -> Packet:
    if version == 4:
        return IP(src=source[4], dst=far(4, host), ttl=hops, flags="DF", id=7)
    return IPv6(src=source[6], dst=far(6, host), hlim=hops)


def of_protocol(version: int, protocol: int, source: Mapping[int, str] = ETH0) -> Packet:
    """A header, for a protocol of any number."""
    packet = header(version, source)
    setattr(packet, "proto" if version == 4 else "nh", protocol)
    return packet


def segment(
    version: int,
    flags: str = "A",
    *,
    source: Mapping[int, str] = ETH0,
    host: int = HOME,
    sport: int = 4000,
    dport: int = 80,
    payload: bytes = b"",
) -> bytes:
    tcp = TCP(sport=sport, dport=dport, flags=flags, seq=100)
    return bytes(header(version, source, host) / tcp / payload)


def datagram(
    version: int,
    size: int = 8,
    *,
    source: Mapping[int, str] = ETH0,
    host: int = HOME,
    dport: int = 53,
    hops: int = 64,
) -> bytes:
    return bytes(header(version, source, host, hops) / UDP(sport=4000, dport=dport) / bytes(size))


def one_hop_less(packet: bytes) -> bytes:
    """What is expected to leave; the raw socket computes the IPv4 checksum."""
    data = bytearray(packet)
    data[TTL_AT[packet[0] >> 4]] -= 1
    if data[0] >> 4 == 4:
        fill_in_v4_checksum(data, 0, (data[0] & 0x0F) * 4)
    return bytes(data)


def frames(world: World, given: Iterable[bytes], now: float = 1.0) -> list[bytes]:
    """Read frames, each with its virtio-net header and 64 packets at most; what comes back out of
    the TUN."""
    world.tun.written.clear()
    world.tun.incoming = list(given)
    world.read(64 * len(world.tun.incoming), now)
    return list(world.tun.written)


def twice(world: World, packet: bytes) -> list[bytes]:
    """Send a packet by the decision and by the cache of decisions; what comes back."""
    return world.send_together([packet]) + world.send_together([packet])


def error_in(packets: list[bytes]) -> tuple[int, int]:
    """Type and code of the one ICMP error among `packets`."""
    (packet,) = packets
    message = bytes(decoded(packet).payload)
    return message[0], message[1]


def value_in(packet: bytes) -> int:
    """The MTU that an ICMP error has."""
    (value,) = unpack_from("!I", bytes(decoded(packet).payload), 4)
    return int(value) & 0xFFFF


def left(world: World) -> list[bytes]:
    """The packets that have left by raw sockets."""
    return [sent.packet for sent in world.raw.sent]


def refuse(world: World, code: int, version: int, times: int = 1) -> None:
    """Let the next sends by eth0's raw socket fail, which has been opened."""
    world.raw.by_source[ETH0[version]].errors = [code] * times


def reload(world: World, directory: Path, rules: str) -> None:
    file = directory / "other.yaml"
    file.write_text(rules, encoding="utf-8")
    config = load(file).config
    assert config is not None
    world.forwarder.change(config, RuleSet.build(config))


def uncut(
    version: int,
    payload: bytes,
    *,
    segment_size: int = 1000,
    sport: int = 4000,
    flags: str = "A",
    host: int = HOME,
    hops: int = 64,
) -> bytes:
    """A frame that is yet to be cut, as the system gives it: the TCP checksum is the sum of the
    pseudo-header."""
    tcp = TCP(sport=sport, dport=80, flags=flags, seq=100)
    packet = bytearray(bytes(header(version, host=host, hops=hops) / tcp / payload))
    start = 20 if version == 4 else 40
    kind = offload.SEGMENT_TCP_V4 if version == 4 else offload.SEGMENT_TCP_V6
    fields = offload.FIELDS.pack(offload.NEEDS_CHECKSUM, kind, start + 20, segment_size, start, 16)
    pseudo = pseudo_sum(bytes(packet), start)
    packet[start + 16 : start + 18] = pseudo.to_bytes(2, "big")
    return fields + bytes(packet)


def unsummed(packet: bytes) -> bytes:
    """The frame of a TCP or UDP packet whose checksum is yet to be completed."""
    version = packet[0] >> 4
    start = 20 if version == 4 else 40
    protocol = packet[9] if version == 4 else packet[6]
    offset = 16 if protocol == 6 else 6
    data = bytearray(packet)
    data[start + offset : start + offset + 2] = pseudo_sum(packet, start).to_bytes(2, "big")
    return offload.FIELDS.pack(offload.NEEDS_CHECKSUM, 0, 0, 0, start, offset) + bytes(data)


def pseudo_sum(packet: bytes, start: int) -> int:
    """The sum of the pseudo-header, not complemented (RFC 9293 3.1, RFC 8200 8.1)."""
    version = packet[0] >> 4
    addresses = packet[12:20] if version == 4 else packet[8:40]
    protocol = packet[9] if version == 4 else packet[6]
    total = sum(int.from_bytes(addresses[at : at + 2], "big") for at in range(0, len(addresses), 2))
    total += protocol + len(packet) - start
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total
