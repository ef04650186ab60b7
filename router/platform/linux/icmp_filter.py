"""Classic BPF programs that pass only the router's own ICMP to a raw socket (linux/filter.h).

Every raw ICMP socket gets a copy of all ICMP that its interface receives. These programs pass
replies to queries whose identifier is the router's, and errors that quote ICMP with such an
identifier; in IPv4 also "host unreachable" about UDP, which this machine's kernel may have sent
(see Sockets.icmp_socket). A raw IPv4 socket receives the IP header first, a raw ICMPv6 socket
begins at the ICMPv6 header.
"""

from __future__ import annotations

import ctypes
import socket
from collections.abc import Iterable
from struct import Struct
from typing import Final

from router.wire import icmp, ip

SO_ATTACH_FILTER: Final = 26
SO_LOCK_FILTER: Final = 44
SOCK_FILTER: Final = Struct("=HBBI")
SOCK_FPROG: Final = Struct("@HP")

LOAD_BYTE: Final = 0x30  # ld  [k]      1 byte
LOAD_BYTE_X: Final = 0x50  # ld  [x + k]
LOAD_HALF: Final = 0x28  # ldh [k]
LOAD_HALF_X: Final = 0x48  # ldh [x + k]
LOAD_HEADER_LENGTH: Final = 0xB1  # ldx 4 * ([k] & 0xf)
JUMP_EQUAL: Final = 0x15
JUMP_AT_LEAST: Final = 0x35
JUMP_ABOVE: Final = 0x25
RETURN: Final = 0x06
WHOLE: Final = 0xFFFFFFFF
HOST_UNREACHABLE: Final = icmp.UNREACHABLE << 8 | 1
"""Type and code."""

REFUSE: Final = (RETURN, 0, 0, 0)
"""As a program of its own: accepts no packet."""
Instruction = tuple[int, int, int, int]
"""Code, jump if true, jump if false, k."""


def program(version: int, echo_ids: range) -> list[Instruction]:
    """The filter of a family; `echo_ids` are consecutive."""
    return _program_v4(echo_ids) if version == 4 else _program_v6(echo_ids)


def attach(sock: socket.socket, instructions: list[Instruction]) -> None:
    """Let only packets that the program accepts into the socket, for good: no process without
    privileges can replace or remove it. Raises OSError."""
    code = b"".join(SOCK_FILTER.pack(*instruction) for instruction in instructions)
    buffer = ctypes.create_string_buffer(code)
    fprog = SOCK_FPROG.pack(len(instructions), ctypes.addressof(buffer))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, fprog)
    sock.setsockopt(socket.SOL_SOCKET, SO_LOCK_FILTER, 1)


def _id_in(echo_ids: range) -> list[Instruction]:
    """Accept if the accumulator is one of `echo_ids`, else refuse; ends a program."""
    return [
        (JUMP_AT_LEAST, 0, 2, echo_ids[0]),
        (JUMP_ABOVE, 1, 0, echo_ids[-1]),
        (RETURN, 0, 0, WHOLE),
        (RETURN, 0, 0, 0),
    ]


def _program_v4(echo_ids: range) -> list[Instruction]:
    """The quoted header's own length cannot be loaded behind a variable offset, so a quote with
    options is passed on unseen; it is rare, and looked at again."""
    errors = (icmp.UNREACHABLE, icmp.TIME_EXCEEDED, icmp.PARAMETER_PROBLEM)
    id_in = _id_in(echo_ids)
    quoted: list[Instruction] = [
        (LOAD_BYTE_X, 0, 0, 8),
        (JUMP_EQUAL, 1, 0, 0x45),
        (RETURN, 0, 0, WHOLE),
        (LOAD_BYTE_X, 0, 0, 8 + 9),
        (JUMP_EQUAL, 5, 0, ip.ICMP),
        (JUMP_EQUAL, 0, 2, ip.UDP),
        (LOAD_HALF_X, 0, 0, 0),
        (JUMP_EQUAL, 1, 0, HOST_UNREACHABLE),
        (RETURN, 0, 0, 0),
        (RETURN, 0, 0, WHOLE),
        (LOAD_HALF_X, 0, 0, 8 + ip.IPV4_HEADER + 4),
        *id_in,
    ]
    answer: list[Instruction] = [(LOAD_HALF_X, 0, 0, 4), *id_in]
    load: list[Instruction] = [(LOAD_HEADER_LENGTH, 0, 0, 0), (LOAD_BYTE_X, 0, 0, 0)]
    return load + _by_type(icmp.REQUEST_OF[4], errors, answer, quoted)


def _program_v6(echo_ids: range) -> list[Instruction]:
    """A quote with extension headers is passed on unseen, for the same reason."""
    errors = range(icmp.UNREACHABLE_V6, icmp.PARAMETER_PROBLEM_V6 + 1)
    id_in = _id_in(echo_ids)
    answer: list[Instruction] = [(LOAD_HALF, 0, 0, 4), *id_in]
    quoted: list[Instruction] = [
        (LOAD_BYTE, 0, 0, 8 + 6),
        (JUMP_EQUAL, 2, 0, ip.TCP),
        (JUMP_EQUAL, 1, 0, ip.UDP),
        (JUMP_EQUAL, 2, 1, ip.ICMPV6),
        (RETURN, 0, 0, 0),
        (RETURN, 0, 0, WHOLE),
        (LOAD_HALF, 0, 0, 8 + ip.IPV6_HEADER + 4),
        *id_in,
    ]
    load: list[Instruction] = [(LOAD_BYTE, 0, 0, 0)]
    return load + _by_type(icmp.REQUEST_OF[6], errors, answer, quoted)


def _by_type(
    answers: Iterable[int],
    errors: Iterable[int],
    answer: list[Instruction],
    quoted: list[Instruction],
) -> list[Instruction]:
    """Go on with `answer` or `quoted` by the type in the accumulator; refuse every other."""
    targets = [(kind, 0) for kind in answers] + [(kind, len(answer)) for kind in errors]
    jumps: list[Instruction] = [
        (JUMP_EQUAL, len(targets) - position + target, 0, kind)
        for position, (kind, target) in enumerate(targets)
    ]
    return [*jumps, (RETURN, 0, 0, 0), *answer, *quoted]
