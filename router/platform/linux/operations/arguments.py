"""The arguments of requests to the guard, checked before anything is done with them: the router may
have been taken over.

Always true: each function raises PlatformError that names the value for what the router itself
would not send.

Must not know: what is requested.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final

from router.config.host_names import is_host_name
from router.config.interfaces import interface_fault
from router.platform.base.errors import PlatformError
from router.platform.linux.interface_requests import flags_of, index_of

BETWEEN_COMMANDS: Final = "--then--"
"""In the arguments of the guard's program: between the command that reads the rules file again and
the one that explains."""
MOST_INDEX: Final = 0x7FFFFFFF
IFF_LOOPBACK: Final = 8
"""linux/if.h"""
SHOWN: Final = 60


def check_interface(name: Any, index: Any) -> None:
    """An interface that there is, by both; not the loopback interface, from which packets would
    seem to be those of this machine's own programs."""
    if not isinstance(name, str) or interface_fault(name) is not None:
        raise invalid("the name of an interface", name)
    try:
        found, flags = index_of(name), flags_of(name)
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise
        found = flags = 0
    if not found or found != check_number(index, 1, MOST_INDEX):
        raise PlatformError(f"interface {name} is gone")
    if flags & IFF_LOOPBACK:
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


def check_host_name(value: Any) -> str:
    """One that a policy may have; neither an option nor an address."""
    if not isinstance(value, str) or not is_host_name(value):
        raise invalid("a host name", value)
    return value


def check_one_of(value: Any, known: Sequence[str]) -> str:
    if not isinstance(value, str) or value not in known:
        raise invalid(f"one of {', '.join(known)}", value)
    return value


def invalid(wanted: str, value: Any) -> PlatformError:
    text = repr(value)
    shown = text if len(text) <= SHOWN else text[:SHOWN] + "…"
    return PlatformError(f"invalid request to the guard: {shown} is not {wanted}")
