"""The way in: packets that the router hands to the system through its TUN.

Always true: what the TUN does not take is counted and never raises; nothing longer than the TUN's
MTU goes in, as nothing longer would come by any other interface of that MTU.
"""

from __future__ import annotations

from router.flows.drops import Drop, Drops
from router.platform.base import TunDevice
from router.wire.fragments import split


class Inside:
    """Writes to the TUN."""

    def __init__(self, tun: TunDevice, drops: Drops) -> None:
        self._write = tun.write
        self._send = tun.send
        self._mtu = tun.mtu
        self._drops = drops

    def hand_in(self, packet: bytes | bytearray) -> None:
        """Give the system one packet, in fragments where it is too long for one."""
        try:
            if len(packet) <= self._mtu:
                self._write(packet)
                return
            for fragment in split(packet, self._mtu):
                self._write(fragment)
        except OSError:
            self._drops.count(Drop.NO_BUFFER)

    def send(self, size: int) -> None:
        """Give the system the first `size` bytes of the TUN's frame."""
        try:
            self._send(size)
        except OSError:
            self._drops.count(Drop.NO_BUFFER)
