"""Requests about one address of an interface: RTM_NEWADDR and RTM_DELADDR (linux/if_addr.h).

Must not know: sockets.
"""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv6Interface

from router.platform.families import FAMILY
from router.platform.linux.netlink.constants import (
    IFA_ADDRESS,
    IFA_F_NODAD,
    IFA_LOCAL,
    NLM_F_CREATE,
    NLM_F_EXCL,
    RT_SCOPE_UNIVERSE,
    RTM_DELADDR,
    RTM_NEWADDR,
)
from router.platform.linux.netlink.messages import IFADDRMSG, pack_attribute
from router.platform.linux.netlink.request import Request

Address = IPv4Interface | IPv6Interface


def add_address(index: int, address: Address) -> Request:
    """Refused with EEXIST where it exists. An IPv6 address is used at once, without duplicate
    address detection."""
    flags = IFA_F_NODAD if address.version == 6 else 0
    return Request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, _body(index, address, flags))


def delete_address(index: int, address: Address) -> Request:
    """Refused with EADDRNOTAVAIL where there is none."""
    return Request(RTM_DELADDR, 0, _body(index, address, 0))


def _body(index: int, address: Address, flags: int) -> bytes:
    """An IPv4 address is local and, as of no point-to-point link, that of the network too."""
    packed = address.ip.packed
    body = IFADDRMSG.pack(
        FAMILY[address.version], address.network.prefixlen, flags, RT_SCOPE_UNIVERSE, index
    )
    body += pack_attribute(IFA_ADDRESS, packed)
    return body + (pack_attribute(IFA_LOCAL, packed) if address.version == 4 else b"")
