"""Messages of rtnetlink as bytes: headers, attributes, and the messages of one datagram.

Layouts: linux/netlink.h (nlmsghdr), linux/rtnetlink.h (rtattr, rtmsg, rtnexthop, ifinfomsg),
linux/if_addr.h (ifaddrmsg), linux/nexthop.h (nhmsg, nexthop_grp).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from struct import Struct
from typing import Final, NamedTuple

from router.config.text import spelled_out
from router.platform.linux.netlink.constants import NLA_TYPE_MASK, RTAX_MTU

NLMSGHDR: Final = Struct("=IHHII")
IFINFOMSG: Final = Struct("=BxHiII")
IFADDRMSG: Final = Struct("=BBBBI")
RTMSG: Final = Struct("=BBBBBBBBI")
"""Of routes; a rule has the same layout (fib_rule_hdr in linux/fib_rules.h)."""
RTNEXTHOP: Final = Struct("=HBBi")
NHMSG: Final = Struct("=BBBBI")
NEXTHOP_GRP: Final = Struct("=IBBH")
ATTRIBUTE: Final = Struct("=HH")
U32_ATTRIBUTE: Final = Struct("=HHI")
NATIVE: Final = sys.byteorder

Attributes = Mapping[int, bytes]


class Message(NamedTuple):
    """One message of a datagram: its type, its sequence number, what follows its header, and its
    flags."""

    kind: int
    sequence: int
    body: bytes
    flags: int


def pack_message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    return NLMSGHDR.pack(NLMSGHDR.size + len(body), kind, flags, sequence, 0) + body


def pack_attribute(kind: int, payload: bytes) -> bytes:
    """With the padding that goes before the next one."""
    size = ATTRIBUTE.size + len(payload)
    return (ATTRIBUTE.pack(size, kind) + payload).ljust(aligned(size), b"\0")


def unpack_messages(datagram: bytes) -> Iterator[Message]:
    offset = 0
    while offset + NLMSGHDR.size <= len(datagram):
        length, kind, flags, sequence, _ = NLMSGHDR.unpack_from(datagram, offset)
        body = datagram[offset + NLMSGHDR.size : offset + length]
        yield Message(kind, sequence, body, flags)
        offset += max(aligned(length), NLMSGHDR.size)


def error_number(body: bytes) -> int:
    """The errno number of an NLMSG_ERROR message; 0 in an acknowledgement."""
    return -int.from_bytes(body[:4], NATIVE, signed=True)


def attributes(data: bytes) -> dict[int, bytes]:
    """The payloads of attributes that follow each other, by type; of a repeated type the last."""
    return dict(each_attribute(data))


def each_attribute(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, payload) of attributes that follow each other."""
    offset = 0
    while offset + ATTRIBUTE.size <= len(data):
        length, kind = ATTRIBUTE.unpack_from(data, offset)
        if length < ATTRIBUTE.size:
            break
        yield kind & NLA_TYPE_MASK, data[offset + ATTRIBUTE.size : offset + length]
        offset += aligned(length)


def split_metrics(payload: bytes) -> tuple[int, tuple[tuple[int, bytes], ...]]:
    """Of RTA_METRICS the MTU, 0 where none is set, and the other attributes."""
    metrics = attributes(payload)
    mtu = number(metrics.pop(RTAX_MTU, None))
    return mtu, tuple(sorted(metrics.items()))


def number(payload: bytes | None, absent: int = 0) -> int:
    """An unsigned number of the machine's own byte order."""
    return absent if payload is None else int.from_bytes(payload, NATIVE)


def text(payload: bytes | None) -> str:
    """A string that ends in a zero byte."""
    return (payload or b"").rstrip(b"\0").decode("utf-8", "replace")


def interface_name(payload: bytes | None) -> str:
    """Likewise; the kernel lets an interface have any bytes in its name but blanks, '/' and ':'
    (dev_valid_name), escape sequences too. Those that are not printable are spelled out: no rule
    and no request can name such an interface."""
    return spelled_out((payload or b"").rstrip(b"\0").decode("utf-8", "backslashreplace"))


def aligned(length: int) -> int:
    """Up to the next multiple of NLMSG_ALIGNTO and RTA_ALIGNTO, which are both 4."""
    return (length + 3) & ~3
