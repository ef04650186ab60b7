"""Processes as xnu tells of them: their end, their start, their arguments, what they have open, and
who has connected to a socket."""

from __future__ import annotations

import ctypes
import errno
import os
import select
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest

from router.platform.account import Account
from router.platform.darwin import peer
from router.platform.darwin.holders import file_holder
from router.platform.darwin.peer import XUCRED, CheckedListener, peer_credentials
from router.platform.darwin.process_watch import watch, watch_parent, watched
from router.platform.darwin.processes_kernel import XnuProcesses, parse_arguments
from tests.unit.darwin.fake_processes import processes

NOBODY = 4_294_967_294
"""-2, as Python tells it."""
LONG = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()"]
PROCARGS = (
    (2).to_bytes(4, "little")
    + b"/usr/local/bin/python3\0\0\0\0"
    + b"python3\0-m\0HOME=/var/empty\0"
)


class BsdInfo(ctypes.Structure):
    """struct proc_bsdinfo (sys/proc_info.h:88-110)."""

    _fields_ = (
        *(
            (name, ctypes.c_uint32)
            for name in ["flags", "status", "xstatus", "pid", "ppid", "uid", "gid"]
        ),
        *((name, ctypes.c_uint32) for name in ["ruid", "rgid", "svuid", "svgid", "rfu_1"]),
        ("comm", ctypes.c_char * 16),
        ("name", ctypes.c_char * 32),
        *((name, ctypes.c_uint32) for name in ["nfiles", "pgid", "pjobc", "tdev", "tpgid"]),
        ("nice", ctypes.c_int32),
        ("start_tvsec", ctypes.c_uint64),
        ("start_tvusec", ctypes.c_uint64),
    )


class Xucred(ctypes.Structure):
    """struct xucred (sys/ucred.h); NGROUPS is 16."""

    _fields_ = (
        ("version", ctypes.c_uint32),
        ("uid", ctypes.c_uint32),
        ("ngroups", ctypes.c_int16),
        ("groups", ctypes.c_uint32 * 16),
    )


class FakeLibrary:
    """libc, as far as processes are concerned: process 42 alone, and a file that it has open."""

    def proc_pidinfo(self, pid: int, flavor: int, argument: Any, buffer: Any, size: int) -> int:
        assert (flavor, argument.value, size) == (3, 0, ctypes.sizeof(BsdInfo))
        if pid != 42:
            return fail(errno.ESRCH, 0)
        info = BsdInfo(pid=pid, start_tvsec=1_700_000_000, start_tvusec=123_456)
        ctypes.memmove(buffer, ctypes.byref(info), size)
        return size

    def proc_listpidspath(
        self, kind: int, of: int, path: bytes, flags: int, buffer: Any, size: int
    ) -> int:
        assert (kind, of, flags) == (1, 0, 0)
        if path != b"/var/run/tunrouter/utun11.undo":
            return fail(errno.ENOENT, -1)
        found = (ctypes.c_int * 3)(42, 7, 42)
        assert size >= ctypes.sizeof(found)
        ctypes.memmove(buffer, found, ctypes.sizeof(found))
        return ctypes.sizeof(found)

    def sysctl(self, name: Any, length: int, buffer: Any, size: Any, new: None, count: int) -> int:
        assert (list(name)[:2], length, new, count) == ([1, 49], 3, None, 0)
        if name[2] != 42:
            return fail(errno.EINVAL, -1)
        ctypes.memmove(buffer, PROCARGS, len(PROCARGS))
        size._obj.value = len(PROCARGS)
        return 0

    def sysctlbyname(self, name: bytes, value: Any, size: Any, new: None, count: int) -> int:
        assert (name, size._obj.value, new, count) == (b"kern.maxfilesperproc", 4, None, 0)
        value._obj.value = 61_440
        return 0


def fail(number: int, status: int) -> int:
    ctypes.set_errno(number)
    return status


def path_of(descriptor: int, command: int, buffer: bytes) -> bytes:
    """fcntl(2) with F_GETPATH (sys/fcntl.h)."""
    assert (command, len(buffer)) == (50, 1024)
    return b"/var/run/tunrouter/utun11.undo".ljust(1024, b"\0") if descriptor == 3 else buffer


@pytest.fixture
def xnu() -> XnuProcesses:
    return XnuProcesses(FakeLibrary(), path_of)


def test_structures() -> None:
    assert ctypes.sizeof(BsdInfo) == 136
    assert BsdInfo.start_tvsec.offset == 120
    assert ctypes.sizeof(Xucred) == XUCRED.size == 76
    assert Xucred.groups.offset == 12


def test_when_a_process_was_started(xnu: XnuProcesses) -> None:
    assert xnu.started(42) == (1_700_000_000, 123_456)
    with pytest.raises(ProcessLookupError):
        xnu.started(43)


def test_the_arguments_of_a_process(xnu: XnuProcesses) -> None:
    assert xnu.arguments(42) == ["python3", "-m"]
    with pytest.raises(OSError, match="Invalid"):
        xnu.arguments(43)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (b"", []),
        (b"\1\0", []),
        (b"\1\0\0\0/bin/sh", [""]),
        (b"\1\0\0\0/bin/sh\0\0\0sh\0A=1\0", ["sh"]),
        (b"\xff\xff\xff\xffpath\0x\0", []),
        (b"\1\0\0\0p\0\xff\0", ["\ufffd"]),
    ],
)
def test_arguments_of_any_form(value: bytes, found: list[str]) -> None:
    assert parse_arguments(value) == found


def test_who_has_a_file_open(xnu: XnuProcesses) -> None:
    assert xnu.holders(3) == [7, 42]
    with pytest.raises(FileNotFoundError):
        xnu.holders(4)
    assert xnu.most_files() == 61_440


def test_the_holder_of_a_lock_is_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, holders = processes(), [os.getpid()]
    monkeypatch.setattr(kernel, "holders", lambda _: holders)
    with (
        subprocess.Popen(LONG, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child,
        tempfile.TemporaryFile() as file,
    ):
        assert child.stdout is not None
        child.stdout.readline()  # it has its arguments by now
        assert file_holder(kernel, file.fileno()) is None
        holders.append(child.pid)
        found = file_holder(kernel, file.fileno())
        assert found is not None
        assert found.pid == child.pid
        assert found.program.startswith(sys.executable)
        assert child.stdin is not None
        child.stdin.close()


def is_readable(source: Any, seconds: float) -> bool:
    return bool(select.select([source], [], [], seconds)[0])


def test_the_end_of_a_process_is_noticed() -> None:
    kernel = processes()
    with subprocess.Popen(LONG, stdin=subprocess.PIPE) as child:
        named = watched(kernel, child.pid)
        assert named is not None
        assert named.inherited == ()
        found = watch(kernel, named.words)
        assert found is not None
        assert not is_readable(found, 0)
        assert child.stdin is not None
        child.stdin.close()
        assert is_readable(found, 20)
    assert is_readable(found, 0)


@pytest.mark.parametrize("is_refused", [False, True])
def test_the_filter_of_kqueue(monkeypatch: pytest.MonkeyPatch, is_refused: bool) -> None:
    """sys/event.h:74, 144, 268: EVFILT_PROC is -5, EV_ADD 1, NOTE_EXIT 0x80000000."""

    class Queue:
        added: list[Any]
        is_closed = False

        def control(self, changes: list[Any], most: int, timeout: float) -> list[Any]:
            self.added = changes
            if is_refused:
                raise ProcessLookupError
            return []

        def close(self) -> None:
            self.is_closed = True

    queue: Any = Queue()
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(select, "kqueue", lambda: queue, raising=False)
    monkeypatch.setattr(select, "kevent", lambda *fields: fields, raising=False)
    if is_refused:
        with pytest.raises(ProcessLookupError):
            XnuProcesses(FakeLibrary()).exit_of(42)
    else:
        assert XnuProcesses(FakeLibrary()).exit_of(42) is queue
    assert queue.added == [(42, -5, 1, 0x80000000)]
    assert queue.is_closed is is_refused


def test_a_process_that_has_ended_before_has_ended() -> None:
    """Also where another one has its number by now."""
    kernel = processes()
    with subprocess.Popen(LONG, stdin=subprocess.PIPE) as child:
        pid, seconds, rest = f"{child.pid}:0:0", *kernel.started(child.pid)
        assert is_readable(watch(kernel, pid), 0)
        assert not is_readable(watch(kernel, f"{child.pid}:{seconds}:{rest}"), 0)
        assert child.stdin is not None
        child.stdin.close()
    assert is_readable(watch(kernel, f"{child.pid}:{seconds}:{rest}"), 0)
    assert watched(kernel, child.pid) is None


def test_a_kernel_that_does_not_tell_ends_nothing() -> None:
    assert watch(XnuProcesses(FakeLibrary()), "42:1:2") is None or sys.platform == "darwin"


def test_the_parent_is_watched() -> None:
    found = watch_parent(processes())
    assert found is not None
    assert not is_readable(found, 0)


class Credentials(socket.socket):
    """A socket whose peer has these credentials."""

    value = b""

    def getsockopt(self, *arguments: Any) -> Any:
        assert arguments == (0, 1, 76)
        return self.value


@pytest.mark.parametrize("user", [0, 501, NOBODY])
def test_the_user_of_a_peer(user: int) -> None:
    with Credentials() as sock:
        sock.value = bytes(Xucred(version=0, uid=user, ngroups=2, groups=(20, 80)))
        assert peer_credentials(sock) == (user, 20)
        for value in (
            bytes(Xucred(version=1, uid=user, ngroups=1)),
            bytes(Xucred(version=0, uid=user, ngroups=0)),
            sock.value[:8],
        ):
            sock.value = value
            with pytest.raises(OSError, match="Invalid"):
                peer_credentials(sock)


@pytest.fixture
def listener() -> Iterator[tuple[CheckedListener, str]]:
    with tempfile.TemporaryDirectory(prefix="tr-") as directory:
        path = f"{directory}/utun11.sock"
        with CheckedListener(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.bind(path)
            sock.listen()
            sock.setblocking(False)
            yield sock, path


@pytest.mark.parametrize(
    ("user", "group", "accepted"),
    [
        (0, 0, True),
        (0, 20, True),
        (NOBODY, 0, True),
        (NOBODY, NOBODY, False),
        (501, 0, False),
        (501, 20, False),
        (None, 0, False),
    ],
)
def test_only_root_and_the_connector_are_accepted(
    listener: tuple[CheckedListener, str],
    user: int | None,
    group: int,
    accepted: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def found(_: socket.socket) -> peer.Credentials:
        if user is None:
            raise OSError(errno.EINVAL, "no credentials")
        return peer.Credentials(user, group)

    monkeypatch.setattr(peer, "peer_credentials", found)
    monkeypatch.setattr(peer, "find_account", lambda name: Account(name, NOBODY, NOBODY))
    sock, path = listener
    with pytest.raises(BlockingIOError):
        sock.accept()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.connect(path)
        if accepted:
            sock.accept()[0].close()
        else:
            with pytest.raises(BlockingIOError):
                sock.accept()
        assert client.recv(1) == b""
