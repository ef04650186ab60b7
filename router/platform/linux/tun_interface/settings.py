"""The TUN's sysctls (Documentation/networking/ip-sysctl.rst). They go with the TUN."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from typing import Final, NamedTuple

from router.platform.base.errors import PlatformError
from router.platform.base.routes import ReconcileResult
from router.platform.linux.netlink.constants import IN6_ADDR_GEN_MODE_NONE
from router.platform.linux.tun_interface.attempt import attempt
from router.platform.linux.undo import SYSCTL

LOOSE: Final = 2
"""rp_filter: strict, it would drop replies from addresses that are not routed to the TUN (a hop of
a traceroute)."""


class RestoredSettings(NamedTuple):
    """failed: the IP versions that lack a setting. generates_addresses: whether the system may have
    generated link-local addresses meanwhile."""

    failed: set[int]
    generates_addresses: bool


def configure_settings(interface: str) -> None:
    """`interface`: the TUN's present name. Raises OSError; PlatformError, with all that cannot be
    set, where the settings are read-only, as they are in most containers."""
    refused = []
    for key, value in _settings(interface):
        try:
            _write(key, value)
        except OSError as error:
            if error.errno != errno.EROFS:
                raise
            refused.append(
                f"{key.replace(f'/{interface}/', '/default/').replace('/', '.')}={value}"
            )
    if refused:
        raise PlatformError(
            f"{interface} cannot be configured: {SYSCTL} is read-only, and a new interface does "
            f"not have {', '.join(refused)} of its own accord: mount it writable, or start the "
            f"container with {' '.join(f'--sysctl {each}' for each in refused)}"
        )


def restore_settings(interface: str, result: ReconcileResult) -> RestoredSettings:
    """`interface`: likewise. An MTU too small for IPv6 makes the system forget the settings."""
    failed: set[int] = set()
    generates_addresses = False
    for key, value in _settings(interface):
        if _differs(key, value):
            words = f"{key.replace('/', '.')}={value}"
            if not attempt(result, words, _write, key=key, value=value):
                failed.add(6 if "ipv6" in key else 4)
            generates_addresses |= key.endswith("addr_gen_mode")
    return RestoredSettings(failed, generates_addresses)


def _settings(interface: str) -> Iterator[tuple[str, int]]:
    yield f"net/ipv4/conf/{interface}/rp_filter", LOOSE
    yield f"net/ipv6/conf/{interface}/disable_ipv6", 0
    # No link-local address, so the TUN sends no router solicitations.
    yield f"net/ipv6/conf/{interface}/addr_gen_mode", IN6_ADDR_GEN_MODE_NONE


def _differs(key: str, value: int) -> bool:
    """False where there is no such file: of a kernel without IPv6, of an interface where IPv6 has
    ended."""
    try:
        return (SYSCTL / key).read_text().strip() != str(value)
    except FileNotFoundError:
        return False


def _write(key: str, value: int) -> None:
    if _differs(key, value):
        (SYSCTL / key).write_text(str(value))
