"""The TUN's name, MTU, queue, and whether it is up."""

from __future__ import annotations

import errno
from typing import Any, Final

from router.platform.base.errors import PlatformError
from router.platform.base.routes import ReconcileResult
from router.platform.linux.interfaces import LinuxInterfaces
from router.platform.linux.netlink.constants import IFF_UP
from router.platform.linux.netlink.links import Link, get_link, parse_link, set_link
from router.platform.linux.netlink.request import request
from router.platform.linux.tun import LinuxTun
from router.platform.linux.tun_interface.attempt import attempt
from router.policy.network import Interface

QUEUE: Final = 4096
"""Packets that the system may send before they are read. With the usual 500, a thousand programs
that connect at once lose half of their requests, and repeat them after a second."""


class TunLink:
    """`name` is the one that the TUN had when it was made."""

    def __init__(self, tun: LinuxTun) -> None:
        self.name, self.index = tun.name, tun.index
        self._size = {"mtu": tun.mtu, "txqlen": QUEUE}

    def configure(self) -> None:
        """MTU and queue. Raises OSError."""
        self._set(**self._size)

    def set_up(self) -> None:
        """Raises OSError."""
        self._set(up=True)

    def restore(self, result: ReconcileResult) -> None:
        """Name, MTU and queue. Raises PlatformError if the TUN is gone."""
        link = self._get()
        if link.name != self.name:
            attempt(result, f"the name {self.name} of {link.name}", self._rename)
        for what, value in self._size.items():
            if getattr(link, what) != value:
                attempt(result, f"{what} {value} of {self.name}", self._set, **{what: value})

    def restore_up(self, result: ReconcileResult) -> bool:
        """Whether the TUN was down. Raises PlatformError if it is gone."""
        if self._get().flags & IFF_UP:
            return False
        attempt(result, f"{self.name} is up", self.set_up)
        return True

    def present(self) -> Interface:
        """Its present name and addresses. Raises PlatformError if the TUN is gone."""
        for interface in LinuxInterfaces().all().values():
            if interface.index == self.index:
                return interface
        raise PlatformError(f"{self.name} is gone")

    def _get(self) -> Link:
        try:
            (answer,) = request(get_link(self.index))
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
            raise PlatformError(f"{self.name} is gone") from error
        return parse_link(answer.body)

    def _set(self, **what: Any) -> None:
        request(set_link(self.index, **what))

    def _rename(self) -> None:
        try:
            self._set(name=self.name)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            self._set(up=False)  # before Linux 6.2 only an interface that is down is renamed
            self._set(name=self.name)
