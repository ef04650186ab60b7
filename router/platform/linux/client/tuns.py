"""Opening the TUN by the guard."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from ipaddress import IPv4Interface, IPv6Interface
from pathlib import Path

from router.platform.base.errors import PlatformError
from router.platform.base.flow_offload import FlowOffload
from router.platform.base.processes import Leftover
from router.platform.base.tun import TunDevice
from router.platform.linux.client.flow_offload import LinuxFlowOffload
from router.platform.linux.runtime import RUNTIME
from router.platform.linux.tun import LinuxTun
from router.platform.privileged.client import GuardClient
from router.platform.privileged.journal import SUFFIX
from router.platform.privileged.leftovers import log_leftover

log = logging.getLogger(__name__)


class LinuxTuns:
    """See Tuns.

    journal: where the guard's undoer records changes; None before the TUN is open.
    """

    def __init__(self, guard: GuardClient, *, offloads: bool) -> None:
        self.journal: Path | None = None
        self._guard = guard
        self._offloads = offloads

    def open_tun(
        self, name: str | None, mtu: int, addresses: Sequence[IPv4Interface | IPv6Interface]
    ) -> TunDevice:
        (tun, leftovers), descriptors, _ = self._guard.call(
            "open_tun",
            name=name,
            mtu=mtu,
            addresses=[str(address) for address in addresses],
            offloads=self._offloads,
        )
        self.journal = RUNTIME.path() / (tun["name"] + SUFFIX)
        for leftover in leftovers:
            log_leftover(Leftover(*leftover))
        if not descriptors:
            raise PlatformError("no descriptor is left for the TUN device: raise `ulimit -n`")
        if len(descriptors) == 1:
            log.info(
                "%s has one queue for all: the kernel takes no second one, or no program for it",
                tun["name"],
            )
        opened = LinuxTun(*descriptors, mtu=mtu, **tun)
        if opened.offloads:
            opened.flow_offload = self._flow_offload()
        return opened

    def _flow_offload(self) -> FlowOffload | None:
        try:
            return LinuxFlowOffload(self._guard)
        except (PlatformError, OSError) as error:
            log.info("the kernel carries no flows (%s): all packets pass the router", error)
            return None
