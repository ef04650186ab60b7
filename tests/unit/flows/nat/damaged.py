"""Packets with seeded damage: cut anywhere, and with up to two bytes changed."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from router.wire import ip

ROUNDS = 200


def damaged(whole: bytes, seed: int) -> Iterator[ip.Packet]:
    """What of a packet is still a packet of its own family, and no fragment, after the damage."""
    random = Random(seed)
    version = whole[0] >> 4
    for _ in range(ROUNDS):
        data = bytearray(whole[: random.randrange(len(whole) + 1)])
        for _ in range(random.randrange(3)):
            if data:
                data[random.randrange(len(data))] = random.randrange(256)
        try:
            packet = ip.parse(bytes(data))
        except ip.Malformed:
            continue
        if packet.version == version and not packet.is_fragment:
            yield packet
