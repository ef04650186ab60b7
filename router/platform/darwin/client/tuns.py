"""Opening the utun by the guard."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Interface, IPv6Interface
from pathlib import Path

from router.platform.base.errors import PlatformError
from router.platform.base.processes import Leftover
from router.platform.darwin.runtime import RUNTIME
from router.platform.darwin.utun import UtunDevice
from router.platform.privileged.client import GuardClient
from router.platform.privileged.journal import SUFFIX
from router.platform.privileged.leftovers import log_leftover
from router.platform.privileged.runtime import RuntimeDirectory


class DarwinTuns:
    """See Tuns.

    journal: where the guard's undoer records changes; None before the utun is open.
    """

    def __init__(self, guard: GuardClient, runtime: RuntimeDirectory = RUNTIME) -> None:
        self.journal: Path | None = None
        self._guard = guard
        self._runtime = runtime

    def open_tun(
        self, name: str | None, mtu: int, addresses: Sequence[IPv4Interface | IPv6Interface]
    ) -> UtunDevice:
        (utun, leftovers), descriptors, _ = self._guard.call(
            "open_tun", name=name, mtu=mtu, addresses=[str(address) for address in addresses]
        )
        self.journal = self._runtime.path() / (utun["name"] + SUFFIX)
        for leftover in leftovers:
            log_leftover(Leftover(*leftover))
        if not descriptors:
            raise PlatformError("no descriptor is left for the utun: raise `ulimit -n`")
        own = [bytes.fromhex(each) for each in utun["own"]]
        return UtunDevice(descriptors[0], name=utun["name"], index=utun["index"], mtu=mtu, own=own)
