"""The wrappers of calls that only xnu has, over a fake of its library."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import socket
import subprocess
from typing import Any

import pytest

from router.platform.darwin.kernel import Xnu


class FakeLibrary:
    """sysctl(3): what there is grows after each of the first `growing` calls that give its size."""

    def __init__(self, content: bytes = b"dump", growing: int = 0, error: int = 0) -> None:
        self.content = content
        self.growing = growing
        self.error = error
        self.names: list[list[int]] = []

    def sysctl(self, name: Any, length: int, buffer: Any, size: Any, new: None, count: int) -> int:
        assert (len(name), new, count) == (length, None, 0)
        self.names.append(list(name))
        if self.error:
            return fail(self.error)
        if buffer is None:
            size._obj.value = len(self.content)
            if self.growing:
                self.growing -= 1
                self.content += b"more"
            return 0
        if size._obj.value < len(self.content):
            return fail(errno.ENOMEM)
        ctypes.memmove(buffer, self.content, len(self.content))
        size._obj.value = len(self.content)
        return 0

    def sysctlbyname(self, name: bytes, buffer: Any, size: Any, new: None, count: int) -> int:
        assert (name, new, count) == (b"kern.bootsessionuuid", None, 0)
        if self.error:
            return fail(self.error)
        value = b"2D5B0E2A-6D4C-4F66-9C1B-0B2C6B9E2A11\0"
        assert size._obj.value >= len(value)
        ctypes.memmove(buffer, value, len(value))
        size._obj.value = len(value)
        return 0


def fail(number: int) -> int:
    ctypes.set_errno(number)
    return -1


ROUTES = (4, 17, 0, 2, 7, 0)


def test_a_dump() -> None:
    library = FakeLibrary()
    assert Xnu(library).sysctl(ROUTES) == b"dump"
    assert library.names == [list(ROUTES)] * 2
    assert Xnu(FakeLibrary(b"")).sysctl(ROUTES) == b""


def test_a_dump_that_grows_between_its_size_and_its_content() -> None:
    library = FakeLibrary(growing=2)
    assert Xnu(library).sysctl(ROUTES) == b"dumpmoremore"
    assert len(library.names) == 6
    with pytest.raises(OSError, match=r"\[Errno 12\]"):
        Xnu(FakeLibrary(growing=100)).sysctl(ROUTES)


def test_errors_of_sysctl_have_their_number() -> None:
    with pytest.raises(PermissionError):
        Xnu(FakeLibrary(error=errno.EPERM)).sysctl(ROUTES)
    with pytest.raises(FileNotFoundError):
        Xnu(FakeLibrary(error=errno.ENOENT)).boot_session()


def test_the_boot_session() -> None:
    assert Xnu(FakeLibrary()).boot_session() == "2D5B0E2A-6D4C-4F66-9C1B-0B2C6B9E2A11"


class FakeSocket:
    """refuses: the call that is refused."""

    refuses = ""

    def __init__(self, family: int, kind: int, protocol: int) -> None:
        self.kind = family, int(kind), protocol
        self.calls: list[tuple[Any, ...]] = []

    def shutdown(self, how: int) -> None:
        self.calls.append(("shutdown", how))
        if self.refuses == "shutdown":
            raise OSError(errno.ENOTCONN, "no")

    def setsockopt(self, *arguments: int) -> None:
        self.calls.append(("setsockopt", *arguments))
        if self.refuses == "setsockopt":
            raise OSError(errno.ENOBUFS, "no")

    def setblocking(self, flag: bool) -> None:
        self.calls.append(("setblocking", flag))

    def close(self) -> None:
        self.calls.append(("close",))


def test_the_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of PF_SYSTEM for a utun, and of PF_ROUTE for changes, which hears nothing, and for events."""
    made: list[FakeSocket] = []

    def make(*kind: int) -> FakeSocket:
        made.append(FakeSocket(*kind))
        return made[-1]

    monkeypatch.setattr(socket, "socket", make)
    xnu = Xnu(FakeLibrary())
    xnu.control_socket()
    xnu.route_socket()
    xnu.event_socket()
    raw, datagram = int(socket.SOCK_RAW), int(socket.SOCK_DGRAM)
    assert [each.kind for each in made] == [(32, datagram, 2), (17, raw, 0), (17, raw, 0)]
    assert [each.calls for each in made] == [
        [],
        [("shutdown", socket.SHUT_RD)],
        [("setsockopt", socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 19), ("setblocking", False)],
    ]
    for refused, opened in (("shutdown", xnu.route_socket), ("setsockopt", xnu.event_socket)):
        monkeypatch.setattr(FakeSocket, "refuses", refused)
        with pytest.raises(OSError, match="no"):
            opened()
        assert made[-1].calls[-1] == ("close",)


def test_the_ioctl_that_finds_a_control(monkeypatch: pytest.MonkeyPatch) -> None:
    """By fcntl.ioctl: ioctl(2) is variadic, which ctypes cannot call on Apple's processors."""
    asked: list[tuple[Any, ...]] = []

    def ioctl(*arguments: Any) -> bytes:
        asked.append(arguments)
        return b"answer"

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    assert Xnu(FakeLibrary()).ioctl(3, 0xC0644E03, b"info") == b"answer"
    assert asked == [(3, 0xC0644E03, b"info")]


@pytest.mark.parametrize(
    ("status", "errors", "words"),
    [
        (0, "", None),
        (1, "ifconfig: interface utun99 does not exist\n", "utun99 does not exist"),
        (0, "ifconfig: ioctl (SIOCAIFADDR): Can't assign requested address\n", "Can't assign"),
        (1, "", "ifconfig ended with 1"),
    ],
)
def test_ifconfig(
    monkeypatch: pytest.MonkeyPatch, status: int, errors: str, words: str | None
) -> None:
    """What it says is an error, whatever its exit status is."""
    started: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        started.append(command)
        return subprocess.CompletedProcess(command, status, "", errors)

    monkeypatch.setattr(subprocess, "run", run)
    xnu = Xnu(FakeLibrary())
    if words is None:
        xnu.configure(["utun11", "mtu", "1400", "up"])
    else:
        with pytest.raises(OSError, match=words):
            xnu.configure(["utun11", "mtu", "1400", "up"])
    assert started == [["/sbin/ifconfig", "utun11", "mtu", "1400", "up"]]
