"""The arguments of requests to the guard, checked before anything is done with them: the router may
have been taken over.

Always true: each function raises PlatformError that names the value for what the router itself
would not send.

Must not know: what is requested.
"""

from __future__ import annotations

import fcntl
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from struct import Struct
from typing import Any, Final

from router.config.interfaces import interface_fault
from router.platform.base.errors import PlatformError

SIOCGIFFLAGS: Final = 0x8913
FLAGS: Final = Struct("16sH22x")
"""struct ifreq (linux/if.h)."""
IFF_LOOPBACK: Final = 8
SHOWN: Final = 60


def check_interface(name: Any, index: Any) -> None:
    """An interface that there is, by both; not the loopback interface, from which packets would
    seem to be those of this machine's own programs."""
    if not isinstance(name, str) or interface_fault(name) is not None:
        raise invalid("the name of an interface", name)
    try:
        found = socket.if_nametoindex(name)
        is_loopback = _flags(name) & IFF_LOOPBACK
    except OSError:  # if_nametoindex has no errno number
        found = is_loopback = 0
    if not found or found != check_number(index, 1, 0x7FFFFFFF):
        raise PlatformError(f"interface {name} is gone")
    if is_loopback:
        raise PlatformError(f"{name} is the loopback interface, which is no way out")


def check_version(value: Any) -> int:
    if value not in (4, 6) or not isinstance(value, int):
        raise invalid("an IP version", value)
    return value


def check_number(value: Any, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise invalid(f"a number from {least} to {most}", value)
    return value


def check_address(value: Any) -> IPv4Address | IPv6Address:
    """A numeric one, without a scope: no name is looked up."""
    try:
        address = ip_address(value if isinstance(value, str) else "")
    except ValueError:
        raise invalid("an address", value) from None
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        raise invalid("an address", value)
    return address


def invalid(wanted: str, value: Any) -> PlatformError:
    text = repr(value)
    shown = text if len(text) <= SHOWN else text[:SHOWN] + "…"
    return PlatformError(f"invalid request to the guard: {shown} is not {wanted}")


def _flags(name: str) -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        answer = fcntl.ioctl(sock, SIOCGIFFLAGS, FLAGS.pack(name.encode(), 0))
    flags: int = FLAGS.unpack(answer)[1]
    return flags
