"""Turns the counting of answers of a router that runs off and on again (docs/adr/019-counting.md).

What counts belongs to the router's guard, and is duplicated here. Programs at the ingress of
interfaces are detached, and attached by links of our own, in the router's network namespace; packet
sockets are bound to the loopback interface, where no answer arrives, or to their own again. So
packets meet what they meet by a router that counts, or by one that does not, and nothing else
differs.
"""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from struct import Struct
from typing import Final, Self

from router.platform.linux.bpf import syscall
from router.platform.linux.only_on_linux import AF_PACKET, pidfd_open

PIDFD_GETFD: Final = 438
"""Of the system call, which has this number on all machines (pidfd_getfd(2))."""
LOOPBACK: Final = "lo"
PROG_GET_FD_BY_ID, OBJ_GET_INFO_BY_FD, LINK_DETACH = 13, 15, 34
"""Commands of bpf(2) (enum bpf_cmd)."""
BY_DESCRIPTOR: Final = Struct("=IIQ")
"""Descriptor, size and address of what is filled in."""
LINK_INFO: Final = Struct("=I4xI4xII40x")
"""Type, program; interface and where the program is (struct bpf_link_info)."""
LINK_OF_TCX: Final = 11
"""BPF_LINK_TYPE_TCX"""
NUMBER: Final = Struct("=I8x")
LINK, SOCKET = "anon_inode:bpf_link", "socket:"
NETWORK: Final = 0x40000000
"""CLONE_NEWNET"""

_libc = ctypes.CDLL(None, use_errno=True)


class CountingSwitch:
    """guard: its process. Raises OSError; AssertionError where it does not count."""

    def __init__(self, guard: int) -> None:
        with ExitStack() as stack:
            network = os.open(f"/proc/{guard}/ns/net", os.O_RDONLY)
            stack.callback(os.close, network)
            self._programs = [
                stack.enter_context(AttachedProgram(network, program, interface))
                for program, interface in _programs(guard)
            ]
            self._sockets = [stack.enter_context(sock) for sock in _sockets(guard)]
            self._interfaces = [sock.getsockname()[:2] for sock in self._sockets]
            assert self._programs or self._sockets, f"the guard {guard} counts nothing"
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def turn(self, *, on: bool) -> None:
        for program in self._programs:
            program.turn(on=on)
        for sock, (interface, protocol) in zip(self._sockets, self._interfaces, strict=True):
            sock.bind((interface if on else LOOPBACK, protocol))


class AttachedProgram:
    """One that was the guard's, which has been detached, at the interface of an index. Takes the
    descriptor of the program."""

    def __init__(self, network: int, program: int, interface: int) -> None:
        self._network = network
        self._program = program
        self._interface = interface
        self._link: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.turn(on=False)
        os.close(self._program)

    def turn(self, *, on: bool) -> None:
        if on and self._link is None:
            with _within(self._network):
                where = syscall.TCX_INGRESS
                self._link = syscall.link(self._program, self._interface, where, syscall.BEFORE)
        elif not on and self._link is not None:
            os.close(self._link)
            self._link = None


def _programs(guard: int) -> Iterator[tuple[int, int]]:
    """Programs at the ingress of interfaces, which are detached, and these."""
    for descriptor in _duplicates(guard, LINK):
        program, interface = _ingress_of(descriptor)
        if program:
            syscall.bpf(LINK_DETACH, NUMBER.pack(descriptor))
            yield syscall.bpf(PROG_GET_FD_BY_ID, NUMBER.pack(program)), interface
        os.close(descriptor)


def _ingress_of(link: int) -> tuple[int, int]:
    """The number of a program and the index of the interface at whose ingress it is; 0 if the link
    is another one."""
    info = bytes(LINK_INFO.size)
    syscall.bpf(OBJ_GET_INFO_BY_FD, BY_DESCRIPTOR.pack(link, len(info), syscall.address_of(info)))
    kind, program, interface, where = LINK_INFO.unpack(info)
    is_ingress = (kind, where) == (LINK_OF_TCX, syscall.TCX_INGRESS)
    return (program, interface) if is_ingress else (0, 0)


def _sockets(guard: int) -> Iterator[socket.socket]:
    """The packet sockets that count."""
    for descriptor in _duplicates(guard, SOCKET):
        sock = socket.socket(fileno=descriptor)
        if sock.family == AF_PACKET and sock.type == socket.SOCK_DGRAM:
            yield sock
        else:
            sock.close()


def _duplicates(process: int, kind: str) -> Iterator[int]:
    """Of all of a kind that a process has open, as /proc shows them."""
    pidfd = pidfd_open(process)
    try:
        for each in Path(f"/proc/{process}/fd").iterdir():
            if str(each.readlink()).startswith(kind):
                yield _checked(_libc.syscall(PIDFD_GETFD, pidfd, int(each.name), 0))
    finally:
        os.close(pidfd)


@contextmanager
def _within(network: int) -> Iterator[None]:
    """A network namespace, for this thread."""
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        _checked(_libc.setns(network, NETWORK))
        try:
            yield
        finally:
            _checked(_libc.setns(own, NETWORK))
    finally:
        os.close(own)


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
