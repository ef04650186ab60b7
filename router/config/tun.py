"""The `tun:` section.

Always true: each family has at most one address, which leaves room for a peer; keys that are
absent take the defaults of the schema.

Must not know: which devices the system has.
"""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv6Interface, ip_interface

from router.config.cidr import BITS, BadCidrError, parse_cidr
from router.config.document import Node, Scalar
from router.config.fields import (
    Entry,
    Findings,
    as_items,
    as_mapping,
    as_text,
    is_nothing,
    kind_of,
    read_keys,
)
from router.config.interfaces import interface_fault
from router.config.model import Place, Tun
from router.config.problems import quoted
from router.config.schema import (
    DEFAULT_ADDRESSES,
    DEFAULT_MTU,
    MAXIMUM_MTU,
    MINIMUM_MTU,
    TUN_KEYS,
)

MINIMUM_MTU_V6 = 1280
"""RFC 8200 section 5."""

RESERVED_NAMES = ("lo", "lo0", "all", "default")
"""The loopback devices, and names that mean something else in sysctls and rules."""

Address = IPv4Interface | IPv6Interface


def read_tun(findings: Findings, entry: Entry | None) -> Tun:
    """The configured device; wrong values are reported and replaced by the defaults."""
    defaults = tuple(ip_interface(text) for text in DEFAULT_ADDRESSES)
    if entry is None or is_nothing(entry.value):
        return Tun(None, defaults, DEFAULT_MTU)
    section = as_mapping(findings, entry.value, "'tun'", "'tun: {mtu: 1500}'")
    if section is None:
        return Tun(None, defaults, DEFAULT_MTU)
    keys = read_keys(findings, section, TUN_KEYS, "'tun'")
    name = _name(findings, keys["name"].value) if "name" in keys else None
    addresses, places = defaults, tuple[Place, ...]()
    if "address" in keys:
        addresses, places = _addresses(findings, keys["address"].value)
    mtu = DEFAULT_MTU
    if "mtu" in keys:
        mtu = _mtu(findings, keys["mtu"].value, any(each.version == 6 for each in addresses))
    return Tun(name, addresses, mtu, findings.place(entry.key), places)


def _name(findings: Findings, node: Node) -> str | None:
    name = as_text(findings, node, "the name of the TUN device", "name: tun11")
    if name is None:
        return None
    fault = interface_fault(name)
    if fault is None and name in RESERVED_NAMES:
        fault = "is a name that the system uses itself"
    if fault is not None:
        findings.error(
            "bad-tun-name",
            node,
            f"the device name {quoted(name)} {fault}",
            "write 'name: tun11' (on macOS utun and a number), or leave it out",
        )
    return name


def _addresses(findings: Findings, node: Node) -> tuple[tuple[Address, ...], tuple[Place, ...]]:
    addresses: dict[int, Address] = {}
    places: dict[int, Place] = {}
    for item in as_items(findings, node, "'address'", "address: 192.168.7.1/30"):
        address = _address(findings, item)
        if address is None:
            continue
        if address.version in addresses:
            findings.error(
                "bad-tun-address",
                item,
                f"{quoted(item.text)} is a second IPv{address.version} address",
                f"keep one for each family; {addresses[address.version]} is the first",
            )
            continue
        addresses[address.version] = address
        places[address.version] = findings.place(item)
    return tuple(addresses.values()), tuple(places.values())


def _address(findings: Findings, item: Scalar) -> Address | None:
    try:
        parse_cidr(item.text)
    except BadCidrError as error:
        findings.error("bad-tun-address", item, error.message, error.remedy)
        return None
    address = ip_interface(item.text)
    fault = _address_fault(address, "/" in item.text)
    if fault is not None:
        why, remedy = fault
        findings.error("bad-tun-address", item, f"{quoted(item.text)} {why}", remedy)
    return address


def _address_fault(address: Address, has_length: bool) -> tuple[str, str] | None:
    """Why an address can't be that of the device, with the remedy."""
    if address.ip.is_multicast or address.ip.is_loopback or address.ip.is_unspecified:
        return "is no address that a device can have", "write one of a private network"
    bits = BITS[address.version]
    narrow = f"{address.ip}/{bits - 2}"
    length = address.network.prefixlen
    if not has_length:
        return "has no prefix length", f"write {narrow}"
    if length == bits:
        return "leaves no room for a peer", f"write {narrow}"
    if length == 0:
        return "takes in the whole internet", f"write {narrow}"
    return _edge_fault(address) if length < bits - 1 else None


def _edge_fault(address: Address) -> tuple[str, str] | None:
    """The first address of a network stands for itself, the last of an IPv4 one for all hosts."""
    network = address.network
    usable = f"write {network.network_address + 1}/{network.prefixlen}"
    if address.ip == network.network_address:
        return "is the address of the network itself", usable
    if address.version == 4 and address.ip == network.broadcast_address:
        return "is the broadcast address of its network", usable
    return None


def _mtu(findings: Findings, node: Node, has_v6: bool) -> int:
    plain = isinstance(node, Scalar) and node.plain and node.text.isdecimal()
    if not isinstance(node, Scalar) or not plain or not node.text.isascii():
        message = f"the MTU must be a number, not {kind_of(node)}"
        findings.error("bad-mtu", node, message, "write 'mtu: 1500', without quotes")
        return DEFAULT_MTU
    mtu = int(node.text[:9])
    if not MINIMUM_MTU <= mtu <= MAXIMUM_MTU:
        findings.error(
            "bad-mtu",
            node,
            f"the MTU {quoted(node.text)} is out of bounds",
            f"write a number from {MINIMUM_MTU} to {MAXIMUM_MTU}",
        )
        return DEFAULT_MTU
    if has_v6 and mtu < MINIMUM_MTU_V6:
        findings.error(
            "bad-mtu",
            node,
            f"the MTU {mtu} is too small for IPv6",
            f"write {MINIMUM_MTU_V6} or more, or give 'address' only an IPv4 address",
        )
    return mtu
