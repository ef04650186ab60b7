"""The link addresses of neighbours (linux/neighbour.h), as the kernel knows them."""

from __future__ import annotations

from struct import Struct
from typing import Final

from router.platform.families import FAMILY
from router.platform.linux.netlink.constants import NLM_F_CREATE, NLM_F_REQUEST
from router.platform.linux.netlink.dump import rtnetlink
from router.platform.linux.netlink.messages import (
    attributes,
    pack_attribute,
    pack_message,
    unpack_messages,
)

RTM_NEWNEIGH: Final = 28
RTM_GETNEIGH: Final = 30
NDMSG: Final = Struct("=BxxxiHBB")
"""struct ndmsg: family, interface, state, flags, type."""
NDA_DST: Final = 1
NDA_LLADDR: Final = 2
NUD_VALID: Final = 0x02 | 0x04 | 0x08 | 0x10 | 0x40 | 0x80
"""REACHABLE, STALE, DELAY, PROBE, NOARP, PERMANENT: the link address can be used."""
NTF_USE: Final = 0x01
BUFFER: Final = 4096


def link_address(interface: int, neighbour: bytes) -> bytes | None:
    """Of a neighbour, 4 or 16 bytes, by the interface of an index; None while it is not resolved,
    and on a kernel that answers no such question (before Linux 5.0)."""
    family = FAMILY[4 if len(neighbour) == 4 else 6]
    body = NDMSG.pack(family, interface, 0, 0, 0) + pack_attribute(NDA_DST, neighbour)
    try:
        with rtnetlink() as netlink:
            netlink.send(pack_message(RTM_GETNEIGH, NLM_F_REQUEST, 1, body))
            (message,) = unpack_messages(netlink.recv(BUFFER))
    except OSError:
        return None
    if message.kind != RTM_NEWNEIGH:
        return None
    _, _, state, _, _ = NDMSG.unpack_from(message.body)
    if not state & NUD_VALID:
        return None
    return attributes(message.body[NDMSG.size :]).get(NDA_LLADDR)


def resolve(interface: int, neighbour: bytes) -> None:
    """Have the kernel resolve a neighbour, without waiting for the outcome, which it reports.
    Needs CAP_NET_ADMIN. Raises OSError."""
    family = FAMILY[4 if len(neighbour) == 4 else 6]
    body = NDMSG.pack(family, interface, 0, NTF_USE, 0) + pack_attribute(NDA_DST, neighbour)
    with rtnetlink() as netlink:
        netlink.send(pack_message(RTM_NEWNEIGH, NLM_F_REQUEST | NLM_F_CREATE, 1, body))
