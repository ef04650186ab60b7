"""Connections that rules are tried with: addresses in, at the edges of and beside the networks that
a text names, and others, with ports and protocols.

Always true: the same text gives the same connections.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from functools import cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

NETWORK = re.compile(r"[0-9A-Fa-f]*[:.][0-9A-Fa-f:.]+(?:/\d+)?")
PORTS = (1, 22, 25, 53, 80, 135, 443, 1023, 1024, 1500, 4662, 6881, 8050, 9000, 9101, 49999, 50000)


class Connection(NamedTuple):
    """protocol: tcp or udp."""

    address: Address
    protocol: str
    port: int


def networks_in(*texts: str) -> list[Network]:
    """Everything in texts that reads as a network or an address."""
    found = []
    for word in NETWORK.findall("\n".join(texts)):
        try:
            found.append(ip_network(word, strict=False))
        except ValueError:
            continue
    return sorted(set(found), key=lambda each: (each.version, each))


def connections(number: int, *texts: str) -> Iterator[Connection]:
    chooser = random.Random("\n".join(texts))
    networks = networks_in(*texts)
    for _ in range(number):
        address = _address(chooser, networks)
        yield Connection(address, chooser.choice(("tcp", "udp")), chooser.choice(PORTS))


def _address(chooser: random.Random, networks: list[Network]) -> Address:
    if chooser.random() < 0.2:
        version = chooser.choice((4, 6))
        bits = chooser.getrandbits(32 if version == 4 else 128)
        return IPv4Address(bits) if version == 4 else IPv6Address(bits)
    network = chooser.choice(networks)
    first, last = int(network.network_address), int(network.broadcast_address)
    number = chooser.choice((first, last, first - 1, last + 1, chooser.randint(first, last)))
    kind = type(network.network_address)
    return kind(min(max(number, 0), (1 << network.max_prefixlen) - 1))


@cache
def read_network(text: str) -> Network:
    return ip_network(text, strict=False)


def inside(address: Address, written: str) -> bool:
    """Whether an address is in a network, as its text says."""
    network = read_network(written.strip())
    return address.version == network.version and address in network


def in_any(address: Address, written: list[str]) -> bool:
    return any(inside(address, each) for each in written)


def is_private(address: Address) -> bool:
    """Private, loopback, link-local or multicast, as Go's net/netip has them."""
    return in_any(
        address,
        [
            *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "169.254.0.0/16"),
            *("224.0.0.0/4", "fc00::/7", "::1/128", "fe80::/10", "ff00::/8"),
        ],
    )


def is_unspecified(address: Address) -> bool:
    return address in (ip_address("0.0.0.0"), ip_address("::"))
