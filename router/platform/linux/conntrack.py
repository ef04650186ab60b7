"""Requests of other hosts as the kernel's connection tracking has them (IPCTNL_MSG_CT_GET).

Only root may ask, so the guard does. A kernel without connection tracking knows none, nor does one
where no rule needs it.

Sources: linux/netfilter/nfnetlink_conntrack.h, linux/netfilter/nf_conntrack_common.h.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Final

from router.platform.base.packet_filter import TrackedRequest
from router.platform.families import FAMILY
from router.platform.linux.host_rules.constants import NETLINK_NETFILTER, NFGENMSG
from router.platform.linux.netlink.constants import NLM_F_REQUEST, NLMSG_ERROR
from router.platform.linux.netlink.messages import (
    attributes,
    error_number,
    pack_attribute,
    pack_message,
    unpack_messages,
)
from router.platform.linux.only_on_linux import AF_NETLINK
from router.wire import icmp, ip

CT_GET: Final = 1 << 8 | 1
"""NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET."""
NESTED: Final = 0x8000
CTA_TUPLE_ORIG: Final = 1
CTA_STATUS: Final = 3
CTA_TUPLE_IP: Final = 1
CTA_TUPLE_PROTO: Final = 2
CTA_IP_SOURCE: Final = {4: 1, 6: 3}
CTA_IP_DESTINATION: Final = {4: 2, 6: 4}
CTA_PROTO_NUM: Final = 1
CTA_PROTO_SRC_PORT: Final = 2
CTA_PROTO_DST_PORT: Final = 3
CTA_PROTO_ICMP: Final = {4: (4, 5, 6), 6: (7, 8, 9)}
"""Identifier, type, code."""
IPS_DST_NAT: Final = 1 << 5
BUFFER: Final = 1 << 16
UNKNOWN: Final = frozenset({errno.ENOENT, errno.EINVAL, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT})
"""No such request, or no connection tracking."""


def tracked_request(
    version: int, protocol: int, source: bytes, destination: bytes, start: bytes
) -> TrackedRequest | None:
    """See PacketFilter.request_of: for an answer by its addresses, and the first 8 bytes of its
    upper layer. Raises OSError."""
    found = _get(version, _original(version, protocol, source, destination, start))
    if found is None:
        return None
    began = attributes(attributes(found.get(CTA_TUPLE_ORIG, b"")).get(CTA_TUPLE_IP, b""))
    if began.get(CTA_IP_SOURCE[version]) != destination:
        return None
    status = int.from_bytes(found.get(CTA_STATUS, b""), "big")
    return TrackedRequest(is_translated=bool(status & IPS_DST_NAT))


def _original(
    version: int, protocol: int, source: bytes, destination: bytes, start: bytes
) -> bytes:
    """The tuple of the request that such a packet answers."""
    addresses = pack_attribute(CTA_IP_SOURCE[version], destination)
    addresses += pack_attribute(CTA_IP_DESTINATION[version], source)
    upper = pack_attribute(CTA_PROTO_NUM, bytes([protocol]))
    if protocol in (ip.TCP, ip.UDP):
        upper += pack_attribute(CTA_PROTO_SRC_PORT, start[2:4])
        upper += pack_attribute(CTA_PROTO_DST_PORT, start[:2])
    else:
        identifier, kind, code = CTA_PROTO_ICMP[version]
        upper += pack_attribute(identifier, start[4:6])
        upper += pack_attribute(kind, bytes([icmp.REQUEST_OF[version].get(start[0], 0)]))
        upper += pack_attribute(code, b"\0")
    ends = pack_attribute(CTA_TUPLE_IP | NESTED, addresses)
    return pack_attribute(
        CTA_TUPLE_ORIG | NESTED, ends + pack_attribute(CTA_TUPLE_PROTO | NESTED, upper)
    )


def _get(version: int, original: bytes) -> dict[int, bytes] | None:
    """The attributes of an entry; None where there is none. Raises OSError."""
    body = NFGENMSG.pack(FAMILY[version], 0, 0) + original
    try:
        with socket.socket(AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as netlink:
            netlink.bind((0, 0))
            netlink.send(pack_message(CT_GET, NLM_F_REQUEST, 1, body))
            message = next(iter(unpack_messages(netlink.recv(BUFFER))))
    except OSError as error:
        if error.errno in UNKNOWN:
            return None
        raise
    if message.kind != NLMSG_ERROR:
        return attributes(message.body[NFGENMSG.size :])
    code = error_number(message.body)
    if code in UNKNOWN:
        return None
    raise OSError(code, os.strerror(code))
