"""Many datagrams by one system call (recvmmsg(2)), which Python's socket module has no name for.

Always true: a family's sockets share one set of buffers, so what has been received is good until
the next call. The families do not share one: the rest of a longer address in a
buffer would make equal senders differ.
"""

from __future__ import annotations

import ctypes
import os
import socket
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from struct import Struct
from typing import Final

from router.platform.base.sockets import Arrived

COUNT: Final = 64
STRIDE: Final = 1 << 16
"""More than any datagram has; what is never used is never given memory."""
NAME: Final = {4: 16, 6: 28}
"""sizeof(struct sockaddr_in), sizeof(struct sockaddr_in6)."""
CONTROL: Final = 2 * socket.CMSG_SPACE(4)
CONTROL_HEADER: Final = Struct("@nii")
"""struct cmsghdr: length, level, type."""
IP_TTL: Final = 2
HOP_LIMITS: Final = frozenset(
    {(socket.IPPROTO_IP, IP_TTL), (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT)}
)


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):
    """struct msghdr."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.c_void_p),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):
    """struct mmsghdr; `length` is that of the datagram."""

    _fields_ = (("header", _Header), ("length", ctypes.c_uint32))


def _lengths() -> Struct:
    """Takes the length out of each of many messages."""
    at = _Message.length.offset
    return Struct(f"={at}xI{ctypes.sizeof(_Message) - at - 4}x")


LENGTHS: Final = _lengths()


class MessageBatch:
    """The buffers of a family, and the call that fills them."""

    def __init__(self, version: int) -> None:
        self._name = name = NAME[version]
        data, self._names, self._controls = (
            bytearray(COUNT * size) for size in (STRIDE, name, CONTROL)
        )
        addresses = [
            ctypes.addressof(ctypes.c_char.from_buffer(buffer))
            for buffer in (data, self._names, self._controls)
        ]
        self._vectors = (_Iovec * COUNT)()
        self._messages = (_Message * COUNT)()
        for number in range(COUNT):
            vector, message = self._vectors[number], self._messages[number].header
            vector.base, vector.length = addresses[0] + number * STRIDE, STRIDE
            message.name, message.name_length = addresses[1] + number * name, name
            message.vectors, message.vector_count = ctypes.addressof(vector), 1
            message.control = addresses[2] + number * CONTROL
            message.control_length = CONTROL
        self._headers = memoryview(self._messages).cast("B")
        self._pristine = bytes(self._headers)
        whole = memoryview(data)
        self._data = [whole[at : at + STRIDE] for at in range(0, len(data), STRIDE)]
        self._recvmmsg = _recvmmsg()

    def receive(self, descriptor: int) -> Sequence[Arrived]:
        """What a socket has, at most COUNT datagrams. Raises OSError."""
        self._headers[:] = self._pristine  # the kernel has written into them
        number = self._recvmmsg(descriptor, self._messages, COUNT, socket.MSG_DONTWAIT, None)
        if number < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        end = number * ctypes.sizeof(_Message)
        lengths = [length for (length,) in LENGTHS.iter_unpack(self._headers[:end])]
        if number > 1 and self._is_one_run(lengths, number):
            return (self._arrived(0, lengths),)
        return [self._arrived(at, [length]) for at, length in enumerate(lengths)]

    def _is_one_run(self, lengths: list[int], number: int) -> bool:
        """Whether all are from one sender, alike, and of one length but for a shorter last one."""
        return (
            lengths[-1] <= lengths[0]
            and lengths[:-1].count(lengths[0]) == number - 1
            and self._names.startswith(self._names[: self._name] * number)
            and self._controls.startswith(self._controls[:CONTROL] * number)
        )

    def _arrived(self, at: int, lengths: list[int]) -> Arrived:
        name = bytes(self._names[at * self._name : (at + 1) * self._name])
        control = bytes(self._controls[at * CONTROL : (at + 1) * CONTROL])
        payloads = [data[:length] for data, length in zip(self._data[at:], lengths, strict=False)]
        return Arrived(name, payloads, *_fields(control))


@lru_cache(maxsize=1024)
def _fields(control: bytes) -> tuple[int, int]:
    """Hop limit and traffic class, of which there is one each."""
    hop_limit = traffic_class = at = 0
    while at + CONTROL_HEADER.size < len(control):
        length, level, kind = CONTROL_HEADER.unpack_from(control, at)
        body = control[at + CONTROL_HEADER.size : at + length]
        value = int.from_bytes(body, sys.byteorder)
        if (level, kind) in HOP_LIMITS:
            hop_limit = value
        else:
            traffic_class = value
        at += max(socket.CMSG_SPACE(len(body)), CONTROL_HEADER.size)
    return hop_limit, traffic_class


def _recvmmsg() -> Callable[..., int]:
    function = ctypes.CDLL(None, use_errno=True).recvmmsg
    function.argtypes = [
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_uint,
        ctypes.c_int,
        ctypes.c_void_p,
    ]
    function.restype = ctypes.c_int
    return function
