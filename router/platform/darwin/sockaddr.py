"""Socket addresses in routing messages, as bytes.

Each begins with its length and its family. In a message each takes a multiple of four bytes, and
one of length 0 takes four too (net/rtsock.c:162, ROUNDUP32).

Always true: whatever the bytes are, the answer is a value or ValueError. A scope that xnu embeds in
bytes 2 and 3 of a link-local address (netinet6/in6.h) is taken out of it.

Must not know: messages.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final, NamedTuple

from router.platform.darwin.constants import AF_INET, AF_INET6, AF_LINK

V4: Final = Struct("<BBH4s8x")
"""struct sockaddr_in: length, family, port, address (netinet/in.h)"""
V6: Final = Struct("<BBHI16sI")
"""struct sockaddr_in6: length, family, port, flow, address, scope (netinet6/in6.h)"""
LINK: Final = Struct("<BBHBBBB12s")
"""struct sockaddr_dl: length, family, index, type, lengths of name, address and selector, data
(net/if_dl.h:96-106)"""
LINK_HEADER: Final = 8
IFT_OTHER: Final = 1
"""net/if_types.h; what route(8) writes of any interface"""
ADDRESS_AT: Final = {4: 4, 6: 8}
ADDRESS_SIZE: Final = {4: 4, 6: 16}
VERSIONS: Final = {AF_INET: 4, AF_INET6: 6}


class Link(NamedTuple):
    """An interface, as a gateway or as itself. number: its index. name: empty where the message
    has none."""

    number: int
    name: str


class Address(NamedTuple):
    """scope: the index of an interface, of a link-local address; else 0."""

    version: int
    value: int
    scope: int = 0


def pack_address(version: int, value: int) -> bytes:
    """An address, or a netmask in full length."""
    if version == 4:
        return V4.pack(V4.size, AF_INET, 0, value.to_bytes(4, "big"))
    return V6.pack(V6.size, AF_INET6, 0, 0, value.to_bytes(16, "big"), 0)


def pack_link(number: int, name: str) -> bytes:
    """An interface as the gateway of a route. A name has at most 12 bytes here."""
    data = name.encode()
    return LINK.pack(LINK.size, AF_LINK, number, IFT_OTHER, len(data), 0, 0, data)


def split(body: bytes, present: int) -> Iterator[tuple[int, bytes]]:
    """The bits of `present` in their order, each with its address. Raises ValueError where the
    body is too short for them."""
    at, bit = 0, 1
    while bit <= present:
        if present & bit:
            if at >= len(body):
                raise ValueError("a routing message that lacks an address")
            length = body[at]
            if at + length > len(body):
                raise ValueError("a routing message whose address is cut off")
            yield bit, body[at : at + length]
            at += (length + 3) & ~3 or 4
        bit <<= 1


def address_of(raw: bytes) -> Address | None:
    """None of another family. Raises ValueError."""
    version = VERSIONS.get(raw[1]) if len(raw) > 1 else None
    if version is None:
        return None
    start, size = ADDRESS_AT[version], ADDRESS_SIZE[version]
    value = raw[start : start + size]
    if len(value) < size:
        raise ValueError("an address that is cut off")
    if version == 6 and value[0] == 0xFE and value[1] & 0xC0 == 0x80:
        scope = int.from_bytes(value[2:4], "big")
        return Address(6, int.from_bytes(value[:2] + bytes(2) + value[4:], "big"), scope)
    return Address(version, int.from_bytes(value, "big"))


def link_of(raw: bytes) -> Link | None:
    """None of another family. Raises ValueError."""
    if len(raw) < 2 or raw[1] != AF_LINK:
        return None
    if len(raw) < LINK_HEADER:
        raise ValueError("an interface that is cut off")
    name = raw[LINK_HEADER : LINK_HEADER + raw[5]]
    return Link(int.from_bytes(raw[2:4], "little"), name.decode("ascii", "replace"))


def length_of(mask: bytes, version: int) -> int:
    """The prefix length of a netmask. It says nothing reliable of its family, and ends with its
    last byte that is not 0 (net/radix.c, rn_addmask). Raises ValueError of a mask with gaps."""
    start, size = ADDRESS_AT[version], ADDRESS_SIZE[version]
    value = int.from_bytes(mask[start : start + size].ljust(size, b"\0"), "big")
    width = size * 8
    length = value.bit_count()
    if value != ((1 << length) - 1) << (width - length):
        raise ValueError("a netmask with gaps")
    return length
