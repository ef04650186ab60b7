"""Packets that the router delivers to the system by its TUN.

Always true: what the TUN does not take is counted and never raises; nothing longer than the TUN's
MTU goes in, as nothing longer would come by any other interface of that MTU.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence

from router.flows.drops import Drop, Drops
from router.platform.base.descriptors import Bytes
from router.platform.base.tun import TunDevice
from router.platform.identifications import random_identification
from router.wire.fragments import split
from router.wire.offload import HEADER

Seen = Callable[[bytes | bytearray, int, int], None]
"""Called with a buffer, and where in it a packet begins and ends."""


class TunWriter:
    """Writes to the TUN."""

    def __init__(self, tun: TunDevice, drops: Drops) -> None:
        self._tun = tun
        self._write = tun.write
        self._send = tun.send
        self._write_parts = tun.write_parts
        self.mtu = tun.mtu
        self.takes_runs = tun.offloads
        self._drops = drops

    def observe(self, seen: Seen | None) -> None:
        """Call `seen` with what is written from now on, before it is; None: no more. What is not
        observed costs nothing."""
        tun = self._tun
        self._write, self._send, self._write_parts = tun.write, tun.send, tun.write_parts
        if seen is None:
            return

        def write(packet: bytes | bytearray) -> None:
            seen(packet, 0, len(packet))
            tun.write(packet)

        def send(size: int) -> None:
            seen(tun.frame, HEADER, size)
            tun.send(size)

        def write_parts(parts: Sequence[Bytes]) -> None:
            frame = b"".join(parts)
            seen(frame, HEADER, len(frame))
            tun.write_parts(parts)

        self._write, self._send, self._write_parts = write, send, write_parts

    def deliver(self, packet: bytes | bytearray) -> None:
        """Write one packet, in fragments where it is longer than the MTU."""
        try:
            if len(packet) <= self.mtu:
                self._write(packet)
                return
            for fragment in split(packet, self.mtu, random_identification()):
                self._write(fragment)
        except OSError:
            self._drops.count(Drop.NO_BUFFER)

    def deliver_run(self, parts: Sequence[Bytes]) -> bool:
        """Write many packets in one frame; False if the system does not take such frames.

        parts: of the frame, none of whose packets may be longer than the TUN's MTU.
        """
        try:
            self._write_parts(parts)
        except OSError as error:
            if error.errno == errno.EINVAL:
                self.takes_runs = False
                return False
            self._drops.count(Drop.NO_BUFFER)
        return True

    def deliver_frame(self, size: int) -> None:
        """Write the first `size` bytes of the TUN's frame."""
        try:
            self._send(size)
        except OSError:
            self._drops.count(Drop.NO_BUFFER)
