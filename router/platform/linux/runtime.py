"""The directory of a running router's files: /run/tunrouter.

    /run/tunrouter/net-4026531840/tun11.undo

Always true: each network namespace has a directory of its own, named by its number (namespaces(7)),
so two routers in different namespaces never meet, though their TUNs have the same name. Which
namespace is the system's initial one cannot be read without more privileges than the router needs.

The kernel uses a number again when its namespace is gone. So a journal names its namespace by the
cookie (SO_NETNS_COOKIE, from Linux 5.14 on), which is never used again until the next boot, and by
the boot, since not every system empties /run then.
"""

from __future__ import annotations

import errno
import socket
import sys
from pathlib import Path
from typing import Final

from router.platform.privileged.runtime import NAME, RuntimeDirectory

RUN: Final = Path("/run") / NAME
NAMESPACE: Final = Path("/proc/self/ns/net")
BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
SO_NETNS_COOKIE: Final = 71
"""asm-generic/socket.h: 8 bytes."""
FULL: Final = "`df /run` and `df -i /run` say whether it is full"


def runtime_directory() -> Path:
    """That of the present network namespace; it need not exist."""
    return RUN / f"net-{NAMESPACE.stat().st_ino}"


def namespace_identity() -> str:
    """Of the present network namespace; unique, on a kernel that has cookies. Raises OSError."""
    boot = BOOT.read_text().strip()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            cookie = sock.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8)
        except OSError as error:
            if error.errno != errno.ENOPROTOOPT:
                raise
            return f"{boot}/net-{NAMESPACE.stat().st_ino}"
    return f"{boot}/{int.from_bytes(cookie, sys.byteorder)}"


RUNTIME: Final = RuntimeDirectory(lambda: (RUN, runtime_directory()), FULL)
