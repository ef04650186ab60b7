"""First match by a linear scan over ipaddress objects: slow, and obviously right."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from router.config.model import Config, Rule
from router.config.packed import LENGTH_BITS
from tests.unit.policy.configs import WIDTHS

Flow = tuple[int, int]
"""IP protocol number and destination port."""


def networks(rule: Rule, version: int) -> Iterator[IPv4Network | IPv6Network]:
    kind = IPv4Network if version == 4 else IPv6Network
    for packed in rule.packed(version):
        yield kind((packed >> LENGTH_BITS, packed & 255))


def written(rule: Rule, version: int) -> Iterator[tuple[int, int, int]]:
    """(first, last, length of the first network) of each CIDR and of each range as a whole."""
    width = WIDTHS[version]
    for packed in rule.cidrs(version):
        first, length = packed >> LENGTH_BITS, packed & 255
        yield first, first + (1 << width - length) - 1, length
    for each in rule.all_ranges(version):
        yield each.first, each.last, each.packed[0] & 255


def fits(rule: Rule, protocol: int, port: int) -> bool:
    name = {1: "icmp", 58: "icmp", 6: "tcp", 17: "udp"}.get(protocol)
    if rule.protocols and name not in rule.protocols:
        return False
    if rule.ports:
        return name in ("tcp", "udp") and any(low <= port <= high for low, high in rule.ports)
    return True


def covers(rule: Rule, version: int, address: int) -> bool:
    host = IPv4Address(address) if version == 4 else IPv6Address(address)
    return any(host in network for network in networks(rule, version))


def decide(
    config: Config, version: int, address: int, flow: Flow, without: frozenset[int] = frozenset()
) -> int:
    for rule in config.rules:
        if rule.index not in without and covers(rule, version, address) and fits(rule, *flow):
            return rule.index
    return 0


def policy(config: Config, rule_index: int) -> str:
    return config.rules[rule_index - 1].policy if rule_index else config.default


def flows(config: Config) -> list[Flow]:
    """One flow of every kind that the rules can distinguish."""
    ports = {0, 65535}
    for rule in config.rules:
        for low, high in rule.ports:
            ports.update((low, high, max(0, low - 1), min(65535, high + 1)))
    with_ports = [(protocol, port) for protocol in (6, 17) for port in sorted(ports)]
    return [(1, 0), (58, 0), (47, 0), *with_ports]


def boundaries(config: Config, version: int) -> list[int]:
    """The first and last address of every block and their neighbours outside, and both ends."""
    top = (1 << WIDTHS[version]) - 1
    probes = {0, top}
    for rule in config.rules:
        for network in networks(rule, version):
            first, last = int(network.network_address), int(network.broadcast_address)
            probes.update((first, last, max(0, first - 1), min(top, last + 1)))
    return sorted(probes)


def representatives(config: Config, version: int) -> list[int]:
    """One address of every stretch between two boundaries: the outcome is equal all over it."""
    starts = {0}
    for rule in config.rules:
        for network in networks(rule, version):
            starts.update((int(network.network_address), int(network.broadcast_address) + 1))
    starts.discard(1 << WIDTHS[version])
    return sorted(starts)
