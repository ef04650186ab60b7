"""How many packets the kernel has handed to the packet sockets of a process."""

from __future__ import annotations

import ctypes
import os
import socket
from pathlib import Path
from struct import Struct
from typing import Final

from router.platform.linux.only_on_linux import AF_PACKET, pidfd_open
from tests.e2e.processes import Process

SYS_PIDFD_GETFD: Final = 438
"""The same on all architectures (pidfd_getfd(2)), since Linux 5.6."""
SOL_PACKET: Final = 263
PACKET_STATISTICS: Final = 6
_STATISTICS: Final = Struct("=I")
"""The beginning of struct tpacket_stats: packets that the filter has let pass, those without room
included."""


def packets_handed_to(process: Process) -> int:
    """Since the last time. The process has a packet socket."""
    counts = []
    pidfd = pidfd_open(process.pid)
    try:
        for each in Path(f"/proc/{process.pid}/fd").iterdir():
            if str(each.readlink()).startswith("socket:"):
                with _duplicate(pidfd, int(each.name)) as sock:
                    if sock.family == AF_PACKET:
                        found = sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, _STATISTICS.size)
                        counts.append(_STATISTICS.unpack(found)[0])
    finally:
        os.close(pidfd)
    assert counts, "it has a packet socket"
    return sum(counts)


def _duplicate(pidfd: int, number: int) -> socket.socket:
    found = ctypes.CDLL(None, use_errno=True).syscall(SYS_PIDFD_GETFD, pidfd, number, 0)
    if found < 0:
        raise OSError(ctypes.get_errno(), "pidfd_getfd")
    return socket.socket(fileno=found)
