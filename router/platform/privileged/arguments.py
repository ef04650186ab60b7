"""The arguments of requests to the guard, checked before anything is done with them: the router may
have been taken over.

Always true: each function raises PlatformError that names the value for what the router itself
would not send.

Must not know: what is requested.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv6Address,
    IPv6Interface,
    ip_address,
    ip_interface,
)
from itertools import takewhile
from typing import Any, Final

from router.config.host_names import is_host_name
from router.config.interfaces import interface_fault
from router.platform.base.errors import PlatformError

BETWEEN_COMMANDS: Final = "--then--"
"""In the arguments of the guard's program: between the command that reads the rules file again and
the one that explains."""
MOST_INDEX: Final = 0x7FFFFFFF
MOST_ADDRESSES: Final = 2
"""One of each family."""
SHOWN: Final = 60


def parted_commands(arguments: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Both commands, see BETWEEN_COMMANDS."""
    first = list(takewhile(BETWEEN_COMMANDS.__ne__, arguments))
    return first, arguments[len(first) + 1 :]


def check_interface_name(value: Any) -> str:
    """One that an interface may have."""
    if not isinstance(value, str) or interface_fault(value) is not None:
        raise invalid("the name of an interface", value)
    return value


def check_tun_addresses(value: Any) -> Sequence[IPv4Interface | IPv6Interface]:
    """At least one, and at most one of each family."""
    if not isinstance(value, list) or not 0 < len(value) <= MOST_ADDRESSES:
        raise invalid("the addresses of a TUN", value)
    try:
        return [ip_interface(address if isinstance(address, str) else "") for address in value]
    except ValueError:
        raise invalid("the addresses of a TUN", value) from None


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
