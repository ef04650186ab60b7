"""Text to network, fast where it is right and in words where it is wrong.

Always true: only the full forms are taken: four decimal octets without leading zeros, or IPv6 as
in RFC 4291 section 2.2, then optionally '/' and a decimal prefix length. A bare address is one
host. Forms that other programs take for something else (1.2, 010.1.1.1, 0x7f.1) are refused.

Must not know: files, lines or places.
"""

from __future__ import annotations

import re
import socket
from ipaddress import IPv4Network, IPv6Network
from typing import NamedTuple

from router.config.packed import LENGTH_BITS
from router.config.problems import quoted

BITS = {4: 32, 6: 128}
LENGTHS = {str(length): length for length in range(129)}
"""Prefix lengths as they may be written: no sign, no leading zeros."""

EXAMPLE = "10.0.0.0/8"

SHORTEST_MASK = 8
"""Bits: of two addresses with a blank between them, the second is rather an address than a shorter
netmask."""


class Cidr(NamedTuple):
    """A network and whether host bits had to be cleared to make it one."""

    version: int
    first: int
    length: int
    host_bits: bool = False

    @property
    def packed(self) -> int:
        """See router.config.packed.LENGTH_BITS."""
        return self.first << LENGTH_BITS | self.length

    def __str__(self) -> str:
        return network_text(self.version, self.first, self.length)


class BadCidrError(ValueError):
    """The text is no network. `remedy` says how to write it in a rule, `remedy_in_list` in a list
    file, which has no YAML."""

    def __init__(self, message: str, remedy: str, remedy_in_list: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.remedy_in_list = remedy if remedy_in_list is None else remedy_in_list


def network_text(version: int, first: int, length: int) -> str:
    """A network in its usual form, as in 10.0.0.0/8."""
    if version == 4:
        return str(IPv4Network((first, length)))
    return str(IPv6Network((first, length)))


def parse_cidr(text: str) -> Cidr:
    """Read one network or address. Raises BadCidrError with the reason and the remedy."""
    host, slash, tail = text.partition("/")
    version, family = (6, socket.AF_INET6) if ":" in host else (4, socket.AF_INET)
    bits = BITS[version]
    try:
        packed = socket.inet_pton(family, host)
        length = LENGTHS[tail] if slash else bits
    except (OSError, ValueError, KeyError):
        raise explain_cidr(text) from None
    if length > bits:
        raise explain_cidr(text)
    address = int.from_bytes(packed, "big")
    shift = bits - length
    first = address >> shift << shift
    return Cidr(version, first, length, first != address)


def explain_cidr(text: str) -> BadCidrError:
    """Why a text that parse_cidr can't read is no network, as precisely as possible."""
    if not text.strip():
        return BadCidrError("an address is missing", f"write it as {EXAMPLE}")
    if text != text.strip():
        return BadCidrError(f"{quoted(text)} has blanks around it", "remove them")
    for reason in (_masked, _several, _decorated, _range, _wildcard):
        fault = reason(text)
        if fault is not None:
            return fault
    host, slash, tail = text.partition("/")
    if ":" in host:
        return _v6_host(text, host) or _tail(text, host, tail, 6)
    if not re.fullmatch(r"[0-9.]+", host):
        return _named(text, host)
    return _v4_host(text, host, slash + tail) or _tail(text, host, tail, 4)


def _masked(text: str) -> BadCidrError | None:
    """`10.0.0.0 255.0.0.0`, as routers and `route` write it."""
    host, *rest = text.split()
    if len(rest) != 1 or not (_is_host(host) and _is_host(rest[0])):
        return None
    from router.config.notations import from_mask  # noqa: PLC0415 - imports netaddr

    network = from_mask(host, rest[0])
    if network is None or int(network.partition("/")[2]) < SHORTEST_MASK:
        return None
    return BadCidrError(f"{quoted(text)} has a netmask, not a prefix length", f"write {network}")


def _several(text: str) -> BadCidrError | None:
    parts = re.split(r"[\s,;]+", text)
    if len(parts) < 2:
        return None
    if all(_is_cidr(part) for part in parts):
        remedy = f"write a list: [{', '.join(parts[:4])}{', …' if len(parts) > 4 else ''}]"
        return BadCidrError(
            f"{quoted(text)} holds several addresses", remedy, "write one network or range a line"
        )
    return BadCidrError(f"{quoted(text)} is not an address", f"write one network, as {EXAMPLE}")


def _decorated(text: str) -> BadCidrError | None:
    """Brackets, ports, zones, schemes: an address with something around it."""
    bracketed = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\](?::\d+)?(/\d+)?", text)
    if bracketed:
        bare = bracketed[1] + (bracketed[2] or "")
        return BadCidrError(
            f"{quoted(text)} has brackets",
            f"write {bare}; ports go to 'port'",
            f"write {bare}; ports go to 'port' of the rule",
        )
    with_port = re.fullmatch(r"(\d+\.\d+\.\d+\.\d+):(\d+)", text)
    if with_port:
        return BadCidrError(
            f"{quoted(text)} has a port",
            f"write 'cidr: {with_port[1]}' and, as a key of its own, 'port: {with_port[2]}'",
            f"write {with_port[1]}; ports go to 'port' of the rule",
        )
    if "%" in text:
        bare = re.sub(r"%[^/]*", "", text)
        return BadCidrError(
            f"{quoted(text)} has a zone", f"write {bare[:60]}; the policy names the interface"
        )
    if "://" in text:
        return BadCidrError(f"{quoted(text)} is a URL", "rules match addresses, not names or URLs")
    return None


def _range(text: str) -> BadCidrError | None:
    first, dash, last = text.partition("-")
    if not dash or not (_is_host(first.strip()) and _is_host(last.strip())):
        return None
    return BadCidrError(f"{quoted(text)} is a range of addresses", "write one of them")


def _wildcard(text: str) -> BadCidrError | None:
    if "*" not in text:
        return None
    from router.config.notations import from_glob  # noqa: PLC0415 - imports netaddr

    meant = from_glob(text) or f"a network with its prefix length, as {EXAMPLE}"
    return BadCidrError(f"{quoted(text)} has a wildcard", f"write {meant}")


def _named(text: str, host: str) -> BadCidrError:
    if all(re.fullmatch(r"0[xX][0-9A-Fa-f]+|[0-9]+", part) for part in host.split(".")):
        return BadCidrError(
            f"{quoted(text)} is written in hexadecimal", "write four decimal numbers from 0 to 255"
        )
    if re.fullmatch(r"(?=.*[^\W\d_])[\w.-]+", host):
        return BadCidrError(
            f"{quoted(text)} is a host name", "rules match addresses: write those it stands for"
        )
    return BadCidrError(f"{quoted(text)} is not an address", f"write a network, as {EXAMPLE}")


def _v4_host(text: str, host: str, rest: str) -> BadCidrError | None:
    octets = host.split(".")
    for octet in octets:
        if octet and int(octet[:9]) > 255 and len(octets) > 1:
            return BadCidrError(
                f"{quoted(octet)} in {quoted(text)} is over 255",
                "each of the four numbers goes from 0 to 255",
            )
    if len(octets) != 4 or "" in octets:
        filled = [octet for octet in octets if octet][:4]
        full = ".".join([*filled, *["0"] * (4 - len(filled))]) + rest
        guess = f"did you mean {full}?" if len(octets) < 4 and rest and _is_cidr(full) else ""
        return BadCidrError(
            f"{quoted(text)} does not have four numbers", guess or f"write all four, as {EXAMPLE}"
        )
    for octet in octets:
        if len(octet) > 1 and octet[0] == "0":
            plain = ".".join(str(int(each[:9])) for each in octets)
            return BadCidrError(
                f"{quoted(octet)} in {quoted(text)} has a leading zero",
                f"some programs read it as octal: write {plain}{rest[:60]}",
            )
    return None


def _v6_host(text: str, host: str) -> BadCidrError | None:
    if _is_host(host):
        return None
    return BadCidrError(f"{quoted(text)} is not an IPv6 address", _v6_remedy(host))


def _v6_remedy(host: str) -> str:
    groups = host.split(":")
    for group in groups:
        if "." not in group and not re.fullmatch(r"[0-9A-Fa-f]*", group):
            return f"{quoted(group)} is not hexadecimal"
        if "." not in group and len(group) > 4:
            return f"{quoted(group)} has more than four digits"
    if host.count("::") > 1 or ":::" in host:
        return "'::' may stand once only"
    if "::" in host:
        return "there are too many groups beside the '::'"
    return "there must be eight groups; '::' stands for as many zeros as are missing"


def _tail(text: str, host: str, tail: str, version: int) -> BadCidrError:
    """What is wrong behind the '/', the address before it being right."""
    bits = BITS[version]
    if not tail:
        return BadCidrError(
            f"{quoted(text)} has no prefix length behind the '/'",
            f"write {host}/{bits} for this one address, or a shorter length for a network",
        )
    if "." in tail or ":" in tail:
        from router.config.notations import from_mask  # noqa: PLC0415 - imports netaddr

        remedy = f"write {from_mask(host, tail) or f'it as {EXAMPLE}'}"
        return BadCidrError(f"{quoted(text)} has a netmask, not a prefix length", remedy)
    if not re.fullmatch(r"[0-9]+", tail):
        return BadCidrError(
            f"{quoted(tail)} in {quoted(text)} is not a prefix length",
            f"write a number from 0 to {bits} behind the '/'",
        )
    if len(tail) > 1 and tail[0] == "0":
        return BadCidrError(
            f"the prefix length in {quoted(text)} has a leading zero",
            f"write {host}/{tail.lstrip('0')[:3] or '0'}",
        )
    return BadCidrError(
        f"the prefix length {quoted(tail, 12)} is over {bits}",
        f"IPv{version} prefix lengths go from 0 to {bits}",
    )


def _is_host(text: str) -> bool:
    return "/" not in text and _is_cidr(text)


def _is_cidr(text: str) -> bool:
    host, slash, tail = text.partition("/")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.inet_pton(family, host)
    except (OSError, ValueError):
        return False
    return not slash or LENGTHS.get(tail, 999) <= (128 if ":" in host else 32)
