"""The filter of system calls: what it decides about each, by the rules of classic BPF, and what a
process meets that has it."""

from __future__ import annotations

import errno
import json
import os
import platform
import pty
import socket
import struct
import subprocess
import sys

import pytest

from router.platform.linux.only_on_linux import AF_ALG, AF_NETLINK, AF_PACKET, NETLINK_ROUTE
from router.platform.linux.sandbox import program as filters
from router.platform.linux.sandbox.calls import ALLOWED, CHECKED, MACHINES

PID = 77
NATIVE = pytest.mark.parametrize("machine", MACHINES)
HOSTILE = {
    "execve": (59, 221),
    "execveat": (322, 281),
    "ptrace": (101, 117),
    "clone": (56, 220),
    "clone3": (435, 435),
    "fork": (57, None),
    "vfork": (58, None),
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "bpf": (321, 280),
    "seccomp": (317, 277),
    "prctl": (157, 167),
    "io_uring_setup": (425, 425),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "keyctl": (250, 219),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "setuid": (105, 146),
    "setsid": (112, 157),
    "setpriority": (141, 140),
    "openat2": (437, 437),
    "memfd_create": (319, 279),
    "unlinkat": (263, 35),
    "fchmodat": (268, 53),
    "shmget": (29, 194),
}


def decision(
    machine: str,
    call: int,
    *arguments: int,
    audit: int | None = None,
    without: tuple[str, ...] = (),
) -> int:
    """What the kernel would do: the result of the program for one call."""
    audit = MACHINES[machine].audit if audit is None else audit
    data = struct.pack("=IIQ6Q", call, audit, 0, *(*arguments, *[0] * 6)[:6])
    instructions = filters.program(MACHINES[machine], PID, without)
    position = accumulator = 0
    while True:
        code, yes, no, k = instructions[position]
        position += 1
        if code == filters.LOAD:
            (accumulator,) = struct.unpack_from("=I", data, k)
        elif code == filters.JUMP:
            position += k
        elif code == filters.RETURN:
            return k
        else:
            holds = {
                filters.JUMP_EQUAL: accumulator == k,
                filters.JUMP_AT_LEAST: accumulator >= k,
                filters.JUMP_ANY_BIT: bool(accumulator & k),
            }[code]
            position += yes if holds else no


def allows(machine: str, name: str, *arguments: int) -> bool:
    found = decision(machine, number(machine, name), *arguments)
    assert found in (filters.SECCOMP_RET_ALLOW, filters.SECCOMP_RET_ERRNO | errno.EPERM)
    return found == filters.SECCOMP_RET_ALLOW


def number(machine: str, name: str) -> int:
    found = {**ALLOWED, **CHECKED, **HOSTILE}[name][MACHINES[machine].column]
    assert found is not None
    return found


@NATIVE
def test_all_others_than_those_in_use_are_refused(machine: str) -> None:
    column = MACHINES[machine].column
    listed = {each[column] for each in ALLOWED.values()}
    checked = {each[column] for each in CHECKED.values()}
    for call in range(1000):
        if call not in checked:
            allowed = decision(machine, call) == filters.SECCOMP_RET_ALLOW
            assert allowed == (call in listed), call
    assert not (listed | checked) & {each[column] for each in HOSTILE.values() if each[column]}


@NATIVE
def test_the_program_fits_into_jumps(machine: str) -> None:
    instructions = filters.program(MACHINES[machine], PID)
    assert len(instructions) < 4096
    for code, yes, no, _ in instructions:
        assert code == filters.JUMP or max(yes, no) < 256


@NATIVE
@pytest.mark.parametrize("call", [0, 59, 0x40000000, 0xFFFFFFFF])
def test_calls_of_another_abi_end_the_process(machine: str, call: int) -> None:
    i386 = 0x40000003
    assert decision(machine, call, audit=i386) == filters.SECCOMP_RET_KILL_PROCESS


@NATIVE
def test_calls_that_are_left_out_are_refused_and_no_others(machine: str) -> None:
    """As of the web process, which may connect to nothing."""
    without = ("socket", "connect", "bind")
    arguments = (socket.AF_UNIX, 0, 0)
    differ = {
        call
        for call in range(500)
        if decision(machine, call, *arguments)
        != decision(machine, call, *arguments, without=without)
    }
    assert differ == {number(machine, name) for name in without}
    for name in without:
        found = decision(machine, number(machine, name), *arguments, without=without)
        assert found == filters.SECCOMP_RET_ERRNO | errno.EPERM


def test_calls_of_x32_end_the_process() -> None:
    assert decision("x86_64", 0x40000000 + 520) == filters.SECCOMP_RET_KILL_PROCESS


@NATIVE
def test_what_arguments_decide(machine: str) -> None:
    for family in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6):
        assert allows(machine, "socket", family, socket.SOCK_DGRAM)
    for protocol in (NETLINK_ROUTE, 4):
        assert allows(machine, "socket", AF_NETLINK, socket.SOCK_RAW, protocol)
    for refused in ((AF_NETLINK, 3, 12), (AF_PACKET, 3), (AF_ALG, 5), (40, 1)):
        assert not allows(machine, "socket", *refused)
    for value in filters.IOCTLS.values():
        assert allows(machine, "ioctl", 3, value)
        assert allows(machine, "ioctl", 3, 1 << 32 | value), "the kernel ignores the upper half"
    for value in (0x5412, 0x541C, 0x540E, 0x400454CB, 0x400454CC, 0x400454CA, 0x400454CE, 0x8914):
        assert not allows(machine, "ioctl", 3, value)
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_CREAT, os.O_TRUNC):
        assert not allows(machine, "openat", 3, 0, flags)
    assert allows(machine, "openat", 3, 0, os.O_RDONLY | os.O_CLOEXEC)
    assert allows(machine, "fcntl", 3, 4) and not allows(machine, "fcntl", 3, 8), "F_SETOWN"
    for call in ("kill", "tkill", "tgkill"):
        assert allows(machine, call, PID, 6) and not allows(machine, call, PID + 1, 6)
    assert allows(machine, "prlimit64", 0) and not allows(machine, "prlimit64", PID)


ENTER = """
import json, os, socket, sys, threading
from router.platform.linux.sandbox import enter
enter.empty_bounding_set()
enter.forbid_new_privileges()
enter.filter_system_calls()
results = {}
def attempt(name, action):
    try:
        action()
        results[name] = 0
    except OSError as error:
        results[name] = error.errno
    except RuntimeError:
        results[name] = "no thread"
attempt("fork", os.fork)
attempt("exec", lambda: os.execv("/bin/true", ["true"]))
attempt("thread", threading.Thread(target=print).start)
attempt("packet", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
attempt("stream", lambda: socket.socket(socket.AF_INET6, socket.SOCK_STREAM).close())
attempt("write", lambda: os.open("/dev/null", os.O_WRONLY))
attempt("read", lambda: os.close(os.open("/dev/null", os.O_RDONLY)))
attempt("renice", lambda: os.nice(1))
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
results["bounding set"] = int(status["CapBnd"], 16) if os.geteuid() == 0 else 0
print(json.dumps(results))
"""


@pytest.mark.skipif(platform.machine() not in MACHINES, reason="this machine has no filter")
def test_a_process_that_has_entered_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ENTER], check=True, capture_output=True, text=True, timeout=60
    )
    refused = errno.EPERM
    assert json.loads(done.stdout) == {
        **{"fork": refused, "exec": refused, "thread": "no thread", "packet": refused},
        **{"stream": 0, "write": refused, "read": 0, "renice": refused, "bounding set": 0},
    }


LEAVE = """
import errno, fcntl, os, sys, termios
from router.platform.terminal import leave_terminal
child = os.fork()
if child:
    os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
os.close(os.open("/dev/tty", os.O_RDWR))
group = os.tcgetpgrp(0)
leave_terminal()
assert os.getpgrp() == group, "the terminal's signals still arrive"
try:
    os.open("/dev/tty", os.O_RDWR)
except OSError as error:
    os._exit(0 if error.errno == errno.ENXIO else 2)
os._exit(3)
"""


def test_a_process_that_has_left_its_terminal() -> None:
    """One that a shell has started, which leads the session."""
    leader, terminal = pty.fork()
    if leader == 0:
        os.execv(sys.executable, [sys.executable, "-c", LEAVE])
    try:
        assert os.waitstatus_to_exitcode(os.waitpid(leader, 0)[1]) == 0
    finally:
        os.close(terminal)
