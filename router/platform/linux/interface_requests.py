"""What a name of an interface stands for (netdevice(7)). Unlike those of if_nametoindex(3), their
errors have a number."""

from __future__ import annotations

import fcntl
import socket
from struct import Struct
from typing import Final

SIOCGIFFLAGS: Final = 0x8913
SIOCGIFINDEX: Final = 0x8933
FLAGS: Final = Struct("16sH22x")
INDEX: Final = Struct("16si20x")
"""struct ifreq (linux/if.h)."""


def index_of(name: str) -> int:
    """Raises OSError; ENODEV where there is none."""
    index: int = INDEX.unpack(_request(SIOCGIFINDEX, INDEX.pack(name.encode(), 0)))[1]
    return index


def flags_of(name: str) -> int:
    """IFF_... (linux/if.h). Raises OSError; ENODEV where there is none."""
    flags: int = FLAGS.unpack(_request(SIOCGIFFLAGS, FLAGS.pack(name.encode(), 0)))[1]
    return flags


def _request(number: int, argument: bytes) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        return fcntl.ioctl(sock, number, argument)
