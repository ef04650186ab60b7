"""Requests about one link: RTM_GETLINK, RTM_NEWLINK and RTM_DELLINK (linux/if_link.h).

Must not know: sockets.
"""

from __future__ import annotations

from typing import NamedTuple

from router.platform.linux.netlink.constants import (
    IFF_UP,
    IFLA_IFNAME,
    IFLA_INFO_DATA,
    IFLA_LINKINFO,
    IFLA_MTU,
    IFLA_TUN_NUM_DISABLED_QUEUES,
    IFLA_TUN_NUM_QUEUES,
    IFLA_TXQLEN,
    RTM_DELLINK,
    RTM_GETLINK,
    RTM_NEWLINK,
)
from router.platform.linux.netlink.messages import (
    IFINFOMSG,
    U32_ATTRIBUTE,
    attributes,
    interface_name,
    number,
    pack_attribute,
)
from router.platform.linux.netlink.request import Request


class Link(NamedTuple):
    """mtu: in bytes; txqlen: the transmit queue, in packets; flags: IFF_..."""

    name: str
    flags: int
    mtu: int
    txqlen: int


def get_link(index: int) -> Request:
    """Refused with ENODEV where there is none; the answer is for `parse_link`."""
    return Request(RTM_GETLINK, 0, IFINFOMSG.pack(0, 0, index, 0, 0))


def get_link_named(name: str) -> Request:
    """Likewise."""
    body = IFINFOMSG.pack(0, 0, 0, 0, 0) + _name(name)
    return Request(RTM_GETLINK, 0, body)


def set_link(
    index: int,
    *,
    name: str | None = None,
    mtu: int | None = None,
    txqlen: int | None = None,
    up: bool | None = None,
) -> Request:
    """Change what is given."""
    flags, mask = (IFF_UP if up else 0), (0 if up is None else IFF_UP)
    body = IFINFOMSG.pack(0, 0, index, flags, mask)
    for kind, value in ((IFLA_MTU, mtu), (IFLA_TXQLEN, txqlen)):
        if value is not None:
            body += U32_ATTRIBUTE.pack(U32_ATTRIBUTE.size, kind, value)
    if name is not None:
        body += _name(name)
    return Request(RTM_NEWLINK, 0, body)


def delete_link(index: int) -> Request:
    """Refused with ENODEV where there is none."""
    return Request(RTM_DELLINK, 0, IFINFOMSG.pack(0, 0, index, 0, 0))


def parse_link(body: bytes) -> Link:
    """Of an RTM_NEWLINK message."""
    _, _, _, flags, _ = IFINFOMSG.unpack_from(body)
    found = attributes(body[IFINFOMSG.size :])
    mtu, txqlen = number(found.get(IFLA_MTU)), number(found.get(IFLA_TXQLEN))
    return Link(interface_name(found.get(IFLA_IFNAME)), flags, mtu, txqlen)


def parse_queues(body: bytes) -> int | None:
    """Of the RTM_NEWLINK message of a TUN, how many queues are attached to it, those included that
    are disabled; None before Linux 4.17, which does not say."""
    link = attributes(body[IFINFOMSG.size :])
    tun = attributes(attributes(link.get(IFLA_LINKINFO, b"")).get(IFLA_INFO_DATA, b""))
    if IFLA_TUN_NUM_QUEUES not in tun:
        return None
    return number(tun[IFLA_TUN_NUM_QUEUES]) + number(tun.get(IFLA_TUN_NUM_DISABLED_QUEUES))


def _name(name: str) -> bytes:
    return pack_attribute(IFLA_IFNAME, name.encode() + b"\0")
