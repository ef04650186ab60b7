"""Packets that come in by any interface but one, copied by a packet socket (packet(7)) with a
filter of the kernel (linux/filter.h), for `tunrouter trace`.

Always true: the filter lets pass what comes from outside to this machine and is IP, from or to the
host that is wanted; all else costs no copy. At most SNAP bytes of each are copied.

Must not know: rules, flows.
"""

from __future__ import annotations

import ctypes
import socket
from struct import Struct
from typing import Final

from router.platform.base.capture import Captured
from router.platform.base.errors import PlatformError
from router.platform.linux.only_on_linux import AF_PACKET

ETH_P_ALL: Final = 0x0003
SO_ATTACH_FILTER: Final = 26
SO_TIMESTAMPNS: Final = 35
SNAP: Final = 512
BUFFER: Final = 4 << 20
AT_ONCE: Final = 64

LD_BYTE, LD_HALF, LD_WORD = 0x30, 0x28, 0x20
"""BPF_LD | BPF_ABS, with the size of what is loaded."""
JUMP: Final = 0x05
JUMP_IF_EQUAL: Final = 0x15
RETURN: Final = 0x06
ANCILLARY: Final = 0xFFFFF000
"""SKF_AD_OFF; behind it stand the protocol, the packet's type and its interface."""
PROTOCOL, PACKET_TYPE, INTERFACE = ANCILLARY, ANCILLARY + 4, ANCILLARY + 8
PACKET_HOST: Final = 0
ETH_P_IP, ETH_P_IPV6 = 0x0800, 0x86DD
V4_SOURCE, V4_DESTINATION, V6_SOURCE, V6_DESTINATION = 12, 16, 8, 24

_INSTRUCTION: Final = Struct("=HBBI")
_SIZE: Final = _INSTRUCTION.size
_PROGRAM: Final = Struct("@HP")
_TIME: Final = Struct("@qq")


class PacketCapture:
    """Copies what comes in. not_by: the index of the interface whose packets are left out. host:
    the address that all come from or go to; None: any. Raises PlatformError where it is not
    allowed."""

    def __init__(self, not_by: int, host: bytes | None = None) -> None:
        try:
            self._socket = socket.socket(AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
        except PermissionError as error:
            raise PlatformError(
                "capturing needs the rights of root (CAP_NET_RAW): put sudo before the command"
            ) from error
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        _attach(self._socket, program(not_by, host))
        while self.read():
            pass  # what came in before the filter was there

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


def program(not_by: int, host: bytes | None) -> bytes:
    """The instructions of the filter."""
    accept, refuse = _ins(RETURN, SNAP), _ins(RETURN, 0)
    if host is None:
        v6 = _ins(JUMP_IF_EQUAL, ETH_P_IPV6, 0, 1)
        tail = _ins(LD_HALF, PROTOCOL) + _ins(JUMP_IF_EQUAL, ETH_P_IP, 1, 0) + v6 + accept + refuse
    else:
        is_v4 = len(host) == 4
        to_host = _tests(V4_DESTINATION if is_v4 else V6_DESTINATION, host, accept + refuse)
        by_destination = to_host + accept + refuse
        from_host = _ins(JUMP, _count(to_host))
        by_source = _tests(V4_SOURCE if is_v4 else V6_SOURCE, host, from_host[:-_SIZE])
        tail = by_source + from_host + by_destination
        protocol = _ins(JUMP_IF_EQUAL, ETH_P_IP if is_v4 else ETH_P_IPV6, 0, _count(tail) - 1)
        tail = _ins(LD_HALF, PROTOCOL) + protocol + tail
    tail = _ins(JUMP_IF_EQUAL, not_by, _count(tail) - 1, 0) + tail
    tail = _ins(LD_WORD, INTERFACE) + tail
    tail = _ins(JUMP_IF_EQUAL, PACKET_HOST, 0, _count(tail) - 1) + tail
    return _ins(LD_WORD, PACKET_TYPE) + tail


def _tests(first: int, value: bytes, behind: bytes) -> bytes:
    """Whether a value stands at an offset; if not, to the last instruction of what stands `behind`,
    or to the one behind that if it is empty."""
    written = b""
    for at in reversed(range(0, len(value), 4)):
        skipped = max(_count(written) + _count(behind) - 1, 0) if behind else _count(written) + 1
        word = int.from_bytes(value[at : at + 4], "big")
        test = _ins(JUMP_IF_EQUAL, word, 0, skipped)
        written = _ins(LD_WORD, first + at) + test + written
    return written


def _count(instructions: bytes) -> int:
    return len(instructions) // _SIZE


def _ins(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return _INSTRUCTION.pack(code, if_true, if_false, value)


def _attach(sock: socket.socket, instructions: bytes) -> None:
    """struct sock_fprog."""
    memory = ctypes.create_string_buffer(instructions)
    filled = _PROGRAM.pack(_count(instructions), ctypes.addressof(memory))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, filled)


def _length(data: bytes) -> int:
    """Of the whole packet, as its header says; what was copied of it may be less."""
    if len(data) >= 20 and data[0] >> 4 == 4:
        return max(len(data), int.from_bytes(data[2:4], "big"))
    if len(data) >= 40:
        return max(len(data), 40 + int.from_bytes(data[4:6], "big"))
    return len(data)
