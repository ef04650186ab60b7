"""Real sockets of a namespace, used by a test.

A socket belongs to the network namespace of the thread that makes it, for its lifetime: so
it is made in a thread that has entered the namespace, and used by the test like any other.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from struct import pack
from typing import TypeVar

from tests.e2e.netns import NAMESPACES, Namespace
from tests.e2e.testbed import Family
from tests.e2e.wait import BOUND_S

CLONE_NEWNET = 0x40000000
RESET_ON_CLOSE = pack("ii", 1, 0)
FREEBIND = {4: (socket.IPPROTO_IP, 15), 6: (socket.IPPROTO_IPV6, 78)}
"""Level and option: linux/in.h, linux/in6.h."""
T = TypeVar("T")


def within(namespace: Namespace, make: Callable[[], T]) -> T:
    """What `make` returns when it is called in a namespace. Raises what it raises."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            enter(namespace)
            results.append(make())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def enter(namespace: Namespace) -> None:
    """Moves the calling thread into a namespace, for its lifetime."""
    descriptor = os.open(NAMESPACES / namespace.name, os.O_RDONLY)
    try:
        set_namespace(descriptor)
    finally:
        os.close(descriptor)


def set_namespace(descriptor: int) -> None:
    """Moves the calling thread into the namespace of an open descriptor."""
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def stream(namespace: Namespace, family: Family) -> socket.socket:
    """A TCP socket, whose calls take BOUND_S seconds at most."""
    kind = socket.AF_INET if family.version == 4 else socket.AF_INET6
    made = within(namespace, lambda: socket.socket(kind, socket.SOCK_STREAM))
    made.settimeout(BOUND_S)
    return made


def datagram(namespace: Namespace, family: Family) -> socket.socket:
    """A UDP socket, whose calls take BOUND_S seconds at most."""
    kind = socket.AF_INET if family.version == 4 else socket.AF_INET6
    made = within(namespace, lambda: socket.socket(kind, socket.SOCK_DGRAM))
    made.settimeout(BOUND_S)
    return made


def bind_foreign(sock: socket.socket, family: Family, address: str) -> None:
    """Binds to an address that no interface has (IP_FREEBIND, IPV6_FREEBIND), and to any port."""
    sock.setsockopt(*FREEBIND[family.version], 1)
    sock.bind((address, 0))


def connect(sock: socket.socket, address: tuple[str, int]) -> None:
    """Connects. Raises OSError with the error of connect().

    Python waits for the outcome and then reads SO_ERROR, and Linux may wake the waiting process
    before it has stored an ICMP error there: about one attempt in a hundred, on a busy machine and
    with no router in between, looks like a success. A second connect() returns the outcome.
    """
    sock.connect(address)
    error = sock.connect_ex(address)
    if error not in (0, errno.EISCONN):
        raise OSError(error, os.strerror(error))


def connected(namespace: Namespace, family: Family, address: str, port: int) -> socket.socket:
    """Raises OSError, the socket being closed."""
    sock = stream(namespace, family)
    try:
        connect(sock, (address, port))
    except OSError:
        sock.close()
        raise
    return sock


@contextmanager
def listener(namespace: Namespace, backlog: int = 4096) -> Iterator[socket.socket]:
    """A listener at every address of both families, at a port of the system's choice."""

    def make() -> socket.socket:
        sock = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(("::", 0))
        sock.listen(backlog)
        return sock

    with within(namespace, make) as sock:
        sock.settimeout(BOUND_S)
        yield sock


def port_of(sock: socket.socket) -> int:
    port: int = sock.getsockname()[1]
    return port


def reset(sock: socket.socket) -> None:
    """Closes it by a reset."""
    reset_on_close(sock)
    sock.close()


def reset_on_close(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)


def read(sock: socket.socket, size: int) -> None:
    """Read so many bytes. Raises OSError, and EOFError where the stream ends before."""
    while size:
        received = len(sock.recv(min(size, 1 << 16)))
        if not received:
            raise EOFError
        size -= received


def read_to_end(sock: socket.socket) -> bytes:
    """All data up to the end of the stream. Raises OSError."""
    pieces = []
    while piece := sock.recv(1 << 16):
        pieces.append(piece)
    return b"".join(pieces)
