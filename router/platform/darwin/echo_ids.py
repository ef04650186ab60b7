"""Which ICMP messages are about queries of other programs.

xnu delivers every reply and every error to every raw socket, and has no filter by identifier: what
is not the router's is passed over here, as router.platform.linux.icmp_filter does in the kernel.

Must not know: sockets.
"""

from __future__ import annotations

from router.wire import icmp, ip
from router.wire.headers import ICMP_HEADER, ICMP_IDENTIFIER, PROTOCOL


def is_of_others(version: int, message: bytes, echo_ids: range) -> bool:
    """Whether a message answers a query, or is an error that quotes one, whose identifier is none
    of `echo_ids`. message: from its ICMP header on; one that is too short for an identifier is of
    nobody."""
    if not message:
        return False
    if message[0] in icmp.REQUEST_OF[version]:
        return _has_other_id(message, echo_ids)
    quote = message[ICMP_HEADER:]
    if len(quote) <= PROTOCOL[version] or quote[PROTOCOL[version]] != icmp.protocol_of(version):
        return False
    start = (quote[0] & 0x0F) << 2 if version == 4 else ip.IPV6_HEADER
    return _has_other_id(quote[start:], echo_ids)


def _has_other_id(message: bytes, echo_ids: range) -> bool:
    found = message[ICMP_IDENTIFIER : ICMP_IDENTIFIER + 2]
    return len(found) == 2 and int.from_bytes(found, "big") not in echo_ids
