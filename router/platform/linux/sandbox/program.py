"""The filter of system calls: a classic BPF program over struct seccomp_data (linux/seccomp.h).

Always true: a call that is not listed fails with EPERM; one of another ABI than that of the
machine's 64-bit programs ends the process, since its number means something else.

The search for a number is binary, so each call meets some eight instructions on kernels that do not
remember the decision (before Linux 5.11). The kernel looks at the lower 32 bits of the arguments
that are compared here, all of them of type int.

Must not know: how the program is made to apply.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Collection, Iterator, Sequence
from typing import Final, NamedTuple

from router.platform.linux.only_on_linux import AF_NETLINK, NETLINK_ROUTE
from router.platform.linux.sandbox.calls import ALLOWED, CHECKED, Machine, number
from router.platform.linux.sock_diag import NETLINK_SOCK_DIAG

LOAD: Final = 0x20  # ld [k]      4 bytes
JUMP: Final = 0x05
JUMP_EQUAL: Final = 0x15
JUMP_AT_LEAST: Final = 0x35
JUMP_ANY_BIT: Final = 0x45
RETURN: Final = 0x06

SECCOMP_RET_ALLOW: Final = 0x7FFF0000
SECCOMP_RET_ERRNO: Final = 0x00050000
SECCOMP_RET_KILL_PROCESS: Final = 0x80000000

NUMBER: Final = 0
ARCHITECTURE: Final = 4
ARGUMENTS: Final = 16
"""Offsets in struct seccomp_data; each argument has 8 bytes, the lower 4 first."""

FAMILIES: Final = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6)
NETLINK_PROTOCOLS: Final = (NETLINK_ROUTE, NETLINK_SOCK_DIAG)
WRITES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
IOCTLS: Final = {
    "SIOCATMARK": 0x8905,
    "SIOCGIFNAME": 0x8910,
    "SIOCGIFHWADDR": 0x8927,
    "SIOCGIFINDEX": 0x8933,
    "FIONBIO": 0x5421,
    "FIOCLEX": 0x5451,
    "TCGETS": 0x5401,
    "TCGETS2": 0x802C542A,
}
"""asm-generic/ioctls.h, linux/sockios.h. The last two are isatty(3)."""
FCNTLS: Final = (0, 1, 2, 3, 4, 1030, 1031, 1032)
"""F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC, F_SETPIPE_SZ, F_GETPIPE_SZ
(fcntl(2)); not F_SETOWN, by which a descriptor signals other processes."""

THIS_PROCESS: Final = 0

ALLOW: Final = "to allow"
REFUSE: Final = "to refuse"
END: Final = "to end the process"


class Instruction(NamedTuple):
    """yes, no: labels that a jump leads to; empty: the next instruction."""

    code: int
    k: int = 0
    yes: str = ""
    no: str = ""


Line = Instruction | str
"""An instruction or a label."""
Encoded = tuple[int, int, int, int]
"""Code, jump if true, jump if false, k; as of struct sock_filter (linux/filter.h)."""


def program(machine: Machine, pid: int, without: Collection[str] = ()) -> list[Encoded]:
    """The filter for the process `pid`. without: calls that a router may make and it may not."""
    segments = _segments(machine, without)
    return assemble([*_head(machine), *_search(segments), *_checks(pid), *_ends()])


def assemble(lines: Sequence[Line]) -> list[Encoded]:
    """All jumps lead ahead."""
    places, place = {}, 0
    for line in lines:
        if isinstance(line, str):
            places[line] = place
        else:
            place += 1
    encoded: list[Encoded] = []
    for line in lines:
        if isinstance(line, Instruction):
            here = len(encoded) + 1
            yes, no = (places[to] - here if to else 0 for to in (line.yes, line.no))
            if line.code == JUMP:
                encoded.append((JUMP, 0, 0, yes))
            else:
                encoded.append((line.code, yes, no, line.k))
    return encoded


def _head(machine: Machine) -> Iterator[Line]:
    yield Instruction(LOAD, ARCHITECTURE)
    yield Instruction(JUMP_EQUAL, machine.audit, yes="native")
    yield Instruction(RETURN, SECCOMP_RET_KILL_PROCESS)
    yield "native"
    yield Instruction(LOAD, NUMBER)


def _segments(machine: Machine, without: Collection[str]) -> list[tuple[int, str]]:
    """Each number from which on another label applies, in order, from 0 on."""
    labels = {
        number(numbers, machine): ALLOW for name, numbers in ALLOWED.items() if name not in without
    }
    labels |= {
        number(numbers, machine): name for name, numbers in CHECKED.items() if name not in without
    }
    found = [(0, REFUSE)]
    for call in sorted(each for each in labels if each is not None):
        if found[-1][0] == call:
            found[-1] = call, labels[call]
        else:
            found.append((call, labels[call]))
        found.append((call + 1, REFUSE))
    if machine.foreign is not None:
        found.append((machine.foreign, END))
    return [
        each for before, each in zip([(0, ""), *found], found, strict=False) if before[1] != each[1]
    ]


def _search(segments: Sequence[tuple[int, str]]) -> Iterator[Line]:
    if len(segments) == 1:
        yield Instruction(JUMP, yes=segments[0][1])
        return
    middle = len(segments) // 2
    first, _ = segments[middle]
    label = f"from {first}"
    yield Instruction(JUMP_AT_LEAST, first, yes=label)
    yield from _search(segments[:middle])
    yield label
    yield from _search(segments[middle:])


def _checks(pid: int) -> Iterator[Line]:
    """What the labels of checked calls lead to."""
    yield from _one_of("ioctl", 1, IOCTLS.values())
    yield from _one_of("fcntl", 1, FCNTLS)
    yield from _one_of("prlimit64", 0, (THIS_PROCESS,))
    for call in ("kill", "tkill", "tgkill"):
        yield from _one_of(call, 0, (pid,))
    yield from _reads("open", 1)
    yield from _reads("openat", 2)
    yield from _one_of("socketpair", 0, (socket.AF_UNIX,))
    yield "socket"
    yield Instruction(LOAD, _argument(0))
    for family in FAMILIES:
        yield Instruction(JUMP_EQUAL, family, yes=ALLOW)
    yield Instruction(JUMP_EQUAL, AF_NETLINK, no=REFUSE)
    yield from _one_of("netlink", 2, NETLINK_PROTOCOLS)


def _one_of(label: str, argument: int, values: Collection[int]) -> Iterator[Line]:
    """Allow a call if an argument has one of the values."""
    yield label
    yield Instruction(LOAD, _argument(argument))
    for value in values:
        yield Instruction(JUMP_EQUAL, value, yes=ALLOW)
    yield Instruction(JUMP, yes=REFUSE)


def _reads(label: str, argument: int) -> Iterator[Line]:
    """Allow a call if an argument has the flags of open(2) for reading what exists."""
    yield label
    yield Instruction(LOAD, _argument(argument))
    yield Instruction(JUMP_ANY_BIT, WRITES, yes=REFUSE, no=ALLOW)


def _ends() -> Iterator[Line]:
    for label, result in (
        (ALLOW, SECCOMP_RET_ALLOW),
        (REFUSE, SECCOMP_RET_ERRNO | errno.EPERM),
        (END, SECCOMP_RET_KILL_PROCESS),
    ):
        yield label
        yield Instruction(RETURN, result)


def _argument(position: int) -> int:
    return ARGUMENTS + 8 * position
