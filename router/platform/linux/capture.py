"""Packets that come in by any interface but one, copied by a packet socket (packet(7)) with a
filter of the kernel (linux/filter.h), for `tunrouter trace`.

Always true: the filter lets pass what comes from outside to this machine and is IP, of the
protocols and hosts that are wanted; all else costs no copy. At most SNAP bytes of each are copied.

Must not know: rules, flows.
"""

from __future__ import annotations

import ctypes
import socket
from collections.abc import Sequence
from struct import Struct
from typing import Final, NamedTuple

from router.platform.base.errors import PlatformError

ETH_P_ALL: Final = 0x0003
SO_ATTACH_FILTER: Final = 26
SO_TIMESTAMPNS: Final = 35
SNAP: Final = 512
BUFFER: Final = 4 << 20
AT_ONCE: Final = 64

LD_BYTE, LD_HALF, LD_WORD = 0x30, 0x28, 0x20
"""BPF_LD | BPF_ABS, with the size of what is loaded."""
JUMP_IF_EQUAL: Final = 0x15
RETURN: Final = 0x06
ANCILLARY: Final = 0xFFFFF000
"""SKF_AD_OFF; behind it stand the protocol, the packet's type and its interface."""
PROTOCOL, PACKET_TYPE, INTERFACE = ANCILLARY, ANCILLARY + 4, ANCILLARY + 8
PACKET_HOST: Final = 0
ETH_P_IP, ETH_P_IPV6 = 0x0800, 0x86DD
V4_PROTOCOL, V4_SOURCE, V6_NEXT_HEADER, V6_SOURCE = 9, 12, 6, 8

_INSTRUCTION: Final = Struct("=HBBI")
_PROGRAM: Final = Struct("@HP")
_TIME: Final = Struct("@qq")


class Captured(NamedTuple):
    """time: seconds since 1970. length: bytes of the whole packet, from its IP header on."""

    time: float
    length: int
    data: bytes


class Capture:
    """Copies what comes in. not_by: the index of the interface whose packets are left out. source:
    the address that all come from; None: any. Raises PlatformError where it is not allowed."""

    def __init__(self, not_by: int, source: bytes | None = None) -> None:
        try:
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        except PermissionError as error:
            raise PlatformError(
                "capturing needs the rights of root (CAP_NET_RAW): put sudo before the command"
            ) from error
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        _attach(self._socket, program(not_by, source))
        self._socket.bind(("", ETH_P_ALL))

    def fileno(self) -> int:
        return self._socket.fileno()

    def read(self) -> list[Captured]:
        """What has come, AT_ONCE at most."""
        found: list[Captured] = []
        while len(found) < AT_ONCE:
            try:
                data, controls, _, _ = self._socket.recvmsg(SNAP, 64, socket.MSG_TRUNC)
            except BlockingIOError:
                break
            except OSError:
                continue  # an interface has gone down, which is reported once
            stamp = next(data for level, kind, data in controls if kind == SO_TIMESTAMPNS)
            seconds, nanoseconds = _TIME.unpack(stamp)
            found.append(Captured(seconds + nanoseconds / 1e9, _length(data), data))
        return found

    def close(self) -> None:
        self._socket.close()


def program(not_by: int, source: bytes | None) -> bytes:
    """The instructions of the filter."""
    wanted = ETH_P_IP if source is not None and len(source) == 4 else ETH_P_IPV6
    tests: list[tuple[int, int, int, bool]] = [
        (LD_WORD, PACKET_TYPE, PACKET_HOST, True),
        (LD_WORD, INTERFACE, not_by, False),
    ]
    if source is not None:
        tests.append((LD_HALF, PROTOCOL, wanted, True))
        first = V4_SOURCE if len(source) == 4 else V6_SOURCE
        for at in range(0, len(source), 4):
            word = int.from_bytes(source[at : at + 4], "big")
            tests.append((LD_WORD, first + at, word, True))
    return _all_of(tests, any_ip=source is None)


def _all_of(tests: Sequence[tuple[int, int, int, bool]], *, any_ip: bool) -> bytes:
    """tests: how to load what, the value, and whether it has to be equal."""
    ends = _ins(RETURN, SNAP) + _ins(RETURN, 0)
    if any_ip:  # the type of either IP goes on to the first of `ends`, another to the second
        v6 = _ins(JUMP_IF_EQUAL, ETH_P_IPV6, 0, 1)
        ends = _ins(LD_HALF, PROTOCOL) + _ins(JUMP_IF_EQUAL, ETH_P_IP, 1, 0) + v6 + ends
    written = ends
    for load, at, value, is_equal in reversed(tests):
        to_the_end = len(written) // _INSTRUCTION.size - 1
        jumps = (0, to_the_end) if is_equal else (to_the_end, 0)
        written = _ins(load, at) + _ins(JUMP_IF_EQUAL, value, *jumps) + written
    return written


def _ins(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return _INSTRUCTION.pack(code, if_true, if_false, value)


def _attach(sock: socket.socket, instructions: bytes) -> None:
    """struct sock_fprog."""
    memory = ctypes.create_string_buffer(instructions)
    count = len(instructions) // _INSTRUCTION.size
    sock.setsockopt(
        socket.SOL_SOCKET, SO_ATTACH_FILTER, _PROGRAM.pack(count, ctypes.addressof(memory))
    )


def _length(data: bytes) -> int:
    """Of the whole packet, as its header says; what was copied of it may be less."""
    if len(data) >= 20 and data[0] >> 4 == 4:
        return max(len(data), int.from_bytes(data[2:4], "big"))
    if len(data) >= 40:
        return max(len(data), 40 + int.from_bytes(data[4:6], "big"))
    return len(data)
