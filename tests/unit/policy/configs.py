"""Configurations built in code, small and with many collisions, and strategies that draw them."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import replace
from ipaddress import ip_address, ip_network, summarize_address_range

from hypothesis import strategies as st

from router.config.model import (
    Config,
    Place,
    Policy,
    PolicyType,
    Prefix,
    PrefixList,
    Range,
    Rule,
    Tun,
)
from router.config.packed import LENGTH_BITS

PLACE = Place("rules.yaml", 1, 1)
WIDTHS = {4: 32, 6: 128}
PROTOCOLS = {"icmp": 1, "tcp": 6, "udp": 17, "gre": 47}

POLICIES = {
    policy.name: policy
    for policy in (
        Policy("home", PolicyType.DIRECT, interface="eth0"),
        Policy("office", PolicyType.VPN, interface="wg0", on_down="reject"),
        *(Policy(t.value, t) for t in PolicyType if t.value in ("reply", "drop", "reject")),
        Policy("bypass", PolicyType.BYPASS),
    )
}

MTUS = {"home": 1500, "office": 1420, "bypass": 1500, "reply": 1500, "drop": 1500, "reject": 1500}


def prefix(text: str) -> Prefix:
    """A Prefix from `10.0.0.0/8` or `fd00::/8`."""
    network = ip_network(text)
    return Prefix(network.version, int(network.network_address), network.prefixlen, PLACE)


def address_range(first: str, last: str) -> Prefix | Range:
    """What `first-last` is: a Range, or a Prefix where it is a single network."""
    blocks = summarize_address_range(ip_address(first), ip_address(last))
    networks = [ip_network(str(block)) for block in blocks]
    if len(networks) == 1:
        return prefix(str(networks[0]))
    packed = tuple(int(each.network_address) << LENGTH_BITS | each.prefixlen for each in networks)
    return Range(networks[0].version, packed, PLACE)


def destination(text: str) -> Prefix | Range:
    """From `10.0.0.0/8` or `10.0.0.1-10.0.0.6`."""
    return address_range(*text.split("-")) if "-" in text else prefix(text)


def rule(
    policy: str,
    *destinations: str | Prefix | Range,
    protocols: Iterable[str] = (),
    ports: Sequence[tuple[int, int]] = (),
    lists: tuple[PrefixList, ...] = (),
) -> Rule:
    """A rule without its index, which config() gives."""
    items = [destination(each) if isinstance(each, str) else each for each in destinations]
    return Rule(
        0,
        PLACE,
        policy,
        PLACE,
        prefixes=tuple(each for each in items if isinstance(each, Prefix)),
        ranges=tuple(each for each in items if isinstance(each, Range)),
        lists=lists,
        protocols=frozenset(protocols),
        ports=tuple(ports),
    )


def prefix_list(*destinations: str | Prefix | Range) -> PrefixList:
    """A list file with these CIDRs and ranges, one a line."""
    result = PrefixList("list.txt")
    for line, each in enumerate(destinations, start=1):
        item = destination(each) if isinstance(each, str) else each
        if isinstance(item, Range):
            result.ranges.append(item._replace(place=Place("list.txt", line, 1)))
            continue
        packed = item.first << LENGTH_BITS | item.length
        if item.version == 4:
            result.v4.append(packed)
            result.lines_v4.append(line)
        else:
            result.v6.append(packed)
            result.lines_v6.append(line)
    return result


def config(*rules: Rule, default: str = "bypass") -> Config:
    """A configuration; rules get their indices here."""
    numbered = tuple(replace(item, index=index) for index, item in enumerate(rules, start=1))
    tun = Tun("tun11", (), 1500)
    return Config("rules.yaml", tun, POLICIES, numbered, default)


def large_list(count: int, version: int, length: int) -> PrefixList:
    """`count` prefixes of one length, every second one of that length, from the bottom."""
    step = 2 << (WIDTHS[version] - length)
    packed = [number * step << LENGTH_BITS | length for number in range(count)]
    if version == 4:
        return PrefixList("list.txt", v4=array("Q", packed), lines_v4=array("I", range(count)))
    return PrefixList("list.txt", v6=packed, lines_v6=array("I", range(count)))


def prefixes(version: int, bits: int = 5) -> st.SearchStrategy[Prefix]:
    """Prefixes that differ in a few bits at the top, or at the bottom, so that they collide."""
    width = WIDTHS[version]

    def build(length: int, number: int, low: bool) -> Prefix:
        first = number >> (bits - length) << (bits - length)
        base = 0x0A000000 if version == 4 else 0x20010DB8 << 96
        if low:
            return Prefix(version, base | first, width - bits + length, PLACE)
        return Prefix(version, first << (width - bits), length, PLACE)

    return st.builds(
        build,
        st.integers(0, bits),
        st.integers(0, (1 << bits) - 1),
        st.booleans(),
    )


def ranges(version: int, bits: int = 5) -> st.SearchStrategy[Prefix | Range]:
    """Ranges that collide with each other and with `prefixes`, at the bottom of the latter."""
    base = 0x0A000000 if version == 4 else 0x20010DB8 << 96
    address = ip_address(base)
    ends = st.tuples(*2 * [st.integers(0, (1 << bits) - 1)]).map(sorted)
    return ends.map(lambda both: address_range(str(address + both[0]), str(address + both[1])))


ports = st.sampled_from(
    [(), (), (), ((443, 443),), ((0, 65535),), ((1, 443),), ((443, 444), (8000, 8100))]
)
protocol_sets = st.sampled_from(
    [(), (), (), (), ("tcp",), ("udp",), ("icmp",), ("tcp", "udp"), ("icmp", "tcp", "udp")]
)


@st.composite
def rules(draw: st.DrawFn, versions: Sequence[int] = (4, 6), conditional: bool = True) -> Rule:
    """A rule of one to three prefixes and ranges, some of them from a list file."""
    of_family = st.sampled_from(versions).flatmap(
        lambda version: st.one_of(prefixes(version), prefixes(version), ranges(version))
    )
    drawn = draw(st.lists(of_family, min_size=1, max_size=3))
    in_file = draw(st.integers(0, len(drawn)))
    protocols = draw(protocol_sets) if conditional else ()
    allowed = [] if protocols == ("icmp",) or not conditional else draw(ports)
    return rule(
        draw(st.sampled_from(["home", "office", "bypass", "drop"])),
        *drawn[in_file:],
        protocols=protocols,
        ports=allowed,
        lists=(prefix_list(*drawn[:in_file]),) if in_file else (),
    )


def configs(
    versions: Sequence[int] = (4, 6), max_rules: int = 8, *, conditional: bool = True
) -> st.SearchStrategy[Config]:
    """Whole configurations; the rules match addresses alone unless `conditional`."""
    return st.builds(
        lambda drawn, default: config(*drawn, default=default),
        st.lists(rules(versions, conditional), max_size=max_rules),
        st.sampled_from(["bypass", "home", "office"]),
    )
