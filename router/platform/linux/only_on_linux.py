"""What Python has on Linux alone, with its types.

The code is type-checked for macOS too, where Python has no such names, and nothing of this package
runs.
"""

from __future__ import annotations

import sys

__all__ = [
    "AF_ALG",
    "AF_NETLINK",
    "AF_PACKET",
    "EPOLLERR",
    "EPOLLET",
    "EPOLLHUP",
    "EPOLLIN",
    "EPOLLOUT",
    "EPOLLPRI",
    "EPOLLRDHUP",
    "F_SETPIPE_SZ",
    "MSG_ERRQUEUE",
    "MSG_FASTOPEN",
    "NETLINK_ROUTE",
    "NETLINK_XFRM",
    "SOCK_NONBLOCK",
    "SO_BINDTODEVICE",
    "SPLICE_F_MOVE",
    "SPLICE_F_NONBLOCK",
    "TCP_CONGESTION",
    "TCP_INFO",
    "TCP_KEEPIDLE",
    "epoll",
    "pidfd_open",
    "pipe2",
    "prlimit",
    "splice",
]

if sys.platform == "linux":
    from fcntl import F_SETPIPE_SZ
    from os import SPLICE_F_MOVE, SPLICE_F_NONBLOCK, pidfd_open, pipe2, splice
    from resource import prlimit
    from select import EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLPRI, EPOLLRDHUP, epoll
    from socket import (
        AF_ALG,
        AF_NETLINK,
        AF_PACKET,
        MSG_ERRQUEUE,
        MSG_FASTOPEN,
        NETLINK_ROUTE,
        NETLINK_XFRM,
        SO_BINDTODEVICE,
        SOCK_NONBLOCK,
        TCP_CONGESTION,
        TCP_INFO,
        TCP_KEEPIDLE,
    )
else:
    from collections.abc import Callable
    from typing import Protocol

    class Epoll(Protocol):
        """epoll(7)"""

        def fileno(self) -> int: ...

        def register(self, fd: object, eventmask: int) -> None: ...

        def modify(self, fd: object, eventmask: int) -> None: ...

        def unregister(self, fd: object) -> None: ...

        def poll(
            self, timeout: float | None = ..., maxevents: int = ...
        ) -> list[tuple[int, int]]: ...

        def close(self) -> None: ...

    epoll: Callable[[], Epoll]
    pidfd_open: Callable[[int], int]
    pipe2: Callable[[int], tuple[int, int]]
    prlimit: Callable[..., tuple[int, int]]
    splice: Callable[..., int]

    F_SETPIPE_SZ: int
    SPLICE_F_MOVE: int
    SPLICE_F_NONBLOCK: int
    EPOLLERR: int
    EPOLLET: int
    EPOLLHUP: int
    EPOLLIN: int
    EPOLLOUT: int
    EPOLLPRI: int
    EPOLLRDHUP: int
    AF_ALG: int
    AF_NETLINK: int
    AF_PACKET: int
    MSG_ERRQUEUE: int
    MSG_FASTOPEN: int
    NETLINK_ROUTE: int
    NETLINK_XFRM: int
    SO_BINDTODEVICE: int
    SOCK_NONBLOCK: int
    TCP_CONGESTION: int
    TCP_INFO: int
    TCP_KEEPIDLE: int
