"""Whether the name and the addresses of a TUN are free, and the remedy if they are not."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_interface

from router.platform.base.errors import PlatformError
from router.platform.linux.holders import tun_holder
from router.platform.linux.interfaces import LinuxInterfaces


def check_addresses_free(addresses: Sequence[str]) -> None:
    """Two TUNs with one address, as of two routers with the same rules, would both be useless.
    Raises PlatformError."""
    wanted = {ip_interface(address).ip for address in addresses}
    for interface in LinuxInterfaces().all().values():
        for present in interface.addresses:
            if present.ip in wanted:
                raise PlatformError(
                    f"{present.ip} is already an address of {interface.name}"
                    f"{_holder_of(interface.name)}, or choose another 'address' in 'tun'"
                )


def name_conflict(name: str) -> PlatformError:
    """Why no TUN of this name can be made: there is an interface already."""
    holder = tun_holder(name)
    if holder is not None:
        return PlatformError(
            f"{name} is in use by pid {holder.pid}, {holder.program}: stop it "
            f"(kill {holder.pid}), or choose another tun name"
        )
    return PlatformError(
        f"there is already an interface {name}: end the program it belongs to, delete it "
        f"(ip link delete {name}), or choose another tun name"
    )


def _holder_of(name: str) -> str:
    holder = tun_holder(name)
    if holder is None:
        return ": remove it there"
    return f", in use by pid {holder.pid}, {holder.program}: stop it (kill {holder.pid})"
