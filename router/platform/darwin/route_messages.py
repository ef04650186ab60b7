"""Messages of PF_ROUTE sockets and of routing sysctls: both have the same format, so one parser
reads events and dumps (net/route.h, net/if.h, net/if_var.h).

Always true: a message that is malformed, or of a kind that means nothing here, is a Skipped; an
event of that kind is no reason to read anything anew, one that is malformed is.

Must not know: where the bytes come from.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final, NamedTuple

from router.platform.darwin.constants import (
    IFF_LOOPBACK,
    RTA_DST,
    RTA_GATEWAY,
    RTA_IFA,
    RTA_IFP,
    RTA_NETMASK,
    RTF_HOST,
    RTM_ADD,
    RTM_CHANGE,
    RTM_DELADDR,
    RTM_DELETE,
    RTM_GET,
    RTM_GET2,
    RTM_IFINFO,
    RTM_IFINFO2,
    RTM_NEWADDR,
    RTM_VERSION,
)
from router.platform.darwin.sockaddr import (
    ADDRESS_SIZE,
    Address,
    Link,
    address_of,
    length_of,
    link_of,
    split,
)

START: Final = Struct("<HBB")
"""Length, version and kind: every message begins so."""
ROUTE: Final = Struct("<HBBHxxiiiiiiI14I")
"""struct rt_msghdr, 92 bytes: length, version, kind, index, flags, addresses, pid, sequence, error,
use, inits, metrics. struct rt_msghdr2 has the same length, and other fields instead of pid,
sequence and error (net/route.h:154-184)."""
MTU: Final = 1
"""Of the metrics: locks, MTU and others (net/route.h:75-87)."""
INTERFACE: Final = Struct("<HBBiiHxx")
"""The start of struct if_msghdr and struct if_msghdr2: ..., addresses, flags, index."""
INTERFACE2_SIZE: Final = 160
INTERFACE2_MTU: Final = 40
"""struct if_msghdr2: after 32 bytes comes a struct if_data64, with ifi_mtu at 8; packed to four
bytes (net/if.h:220-232, net/if_var.h:207-218)."""
INTERFACE_SIZE: Final = 112
INTERFACE_MTU: Final = 24
"""struct if_msghdr likewise: 16 bytes and a struct if_data."""
ADDRESS: Final = Struct("<HBBiiHxxi")
"""struct ifa_msghdr: ..., addresses, flags, index, metric."""
U32: Final = Struct("<I")

CHANGES: Final = {RTM_ADD, RTM_DELETE, RTM_CHANGE}
ROUTES: Final = CHANGES | {RTM_GET, RTM_GET2}


class RouteMessage(NamedTuple):
    """A route, from a dump or an event.

    kind       RTM_ADD ...
    interface  its index; of a scoped route that is its scope too
    gateway    an address, or the interface of a route without a gateway; None of any other
    mtu        0: that of the interface
    source     the address of the interface that the route uses, if the message says it
    error, sequence, pid    of the answer to a request; 0 in a dump
    """

    kind: int
    version: int
    first: int
    length: int
    interface: int
    flags: int
    gateway: Address | Link | None = None
    mtu: int = 0
    source: Address | None = None
    error: int = 0
    sequence: int = 0
    pid: int = 0


class InterfaceMessage(NamedTuple):
    """name: empty where the message has none. number: its index."""

    name: str
    number: int
    flags: int
    mtu: int

    @property
    def is_loopback(self) -> bool:
        return bool(self.flags & IFF_LOOPBACK)


class AddressMessage(NamedTuple):
    """An address of an interface, which is given by its index, with its prefix length."""

    kind: int
    interface: int
    address: Address
    length: int


class Skipped(NamedTuple):
    """A message of no use; `fault` is None unless it is malformed."""

    kind: int
    fault: str | None = None


Message = RouteMessage | InterfaceMessage | AddressMessage | Skipped


def messages(data: bytes) -> Iterator[Message]:
    """Each message of a dump, or of what was read at once."""
    at = 0
    while at + START.size <= len(data):
        size, version, kind = START.unpack_from(data, at)
        if size < START.size or at + size > len(data):
            yield Skipped(kind, "a routing message that is cut off")
            return
        if version == RTM_VERSION:
            try:
                yield _message(kind, data[at : at + size])
            except ValueError as error:
                yield Skipped(kind, str(error))
        at += size


def _message(kind: int, message: bytes) -> Message:
    if kind in ROUTES:
        return _route(kind, message)
    if kind == RTM_IFINFO2:
        return _interface(message, INTERFACE2_SIZE, INTERFACE2_MTU)
    if kind == RTM_IFINFO:
        return _interface(message, INTERFACE_SIZE, INTERFACE_MTU)
    if kind in (RTM_NEWADDR, RTM_DELADDR):
        return _address(kind, message)
    return Skipped(kind)


def _route(kind: int, message: bytes) -> Message:
    _check_size(message, ROUTE.size)
    _, _, _, index, flags, present, pid, sequence, error, _, _, *metrics = ROUTE.unpack_from(
        message
    )
    if kind == RTM_GET2:
        pid = sequence = error = 0
    found = dict(split(message[ROUTE.size :], present))
    destination = address_of(found.get(RTA_DST, b""))
    if destination is None:
        return Skipped(kind)
    version = destination.version
    gateway = found.get(RTA_GATEWAY, b"")
    mask = found.get(RTA_NETMASK)
    return RouteMessage(
        kind,
        version,
        destination.value,
        _length(version, destination.value, flags, mask),
        index,
        flags,
        address_of(gateway) or link_of(gateway),
        metrics[MTU],
        address_of(found.get(RTA_IFA, b"")),
        error,
        sequence,
        pid,
    )


def _length(version: int, destination: int, flags: int, mask: bytes | None) -> int:
    """A host route has no netmask; the default route may have none either."""
    if flags & RTF_HOST:
        return ADDRESS_SIZE[version] * 8
    if mask is None:
        if destination:
            raise ValueError("a route without a netmask")
        return 0
    return length_of(mask, version)


def _interface(message: bytes, size: int, mtu_at: int) -> InterfaceMessage:
    _check_size(message, size)
    _, _, _, present, flags, index = INTERFACE.unpack_from(message)
    link = link_of(dict(split(message[size:], present)).get(RTA_IFP, b""))
    (mtu,) = U32.unpack_from(message, mtu_at)
    return InterfaceMessage("" if link is None else link.name, index, flags & 0xFFFF, mtu)


def _address(kind: int, message: bytes) -> Message:
    _check_size(message, ADDRESS.size)
    _, _, _, present, _, index, _ = ADDRESS.unpack_from(message)
    found = dict(split(message[ADDRESS.size :], present))
    address = address_of(found.get(RTA_IFA, b""))
    if address is None:
        return Skipped(kind)
    mask = found.get(RTA_NETMASK)
    width = ADDRESS_SIZE[address.version] * 8
    length = width if mask is None else length_of(mask, address.version)
    return AddressMessage(kind, index, address, length)


def _check_size(message: bytes, least: int) -> None:
    if len(message) < least:
        raise ValueError("a routing message that is too short")
