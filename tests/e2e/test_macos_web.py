"""The web process with the rights that it has on a Mac: by setuid(2) alone, without capabilities
and system call filters, and with a control socket that its group may connect to; see macos_web."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from struct import Struct
from typing import Any, cast

import pytest

from router.platform.account import find_account, usual_account
from router.platform.darwin import peer
from router.platform.darwin.peer import CheckedListener, Credentials
from router.platform.darwin.runtime import CONNECTORS
from router.platform.privileged.control_socket import control_socket
from router.platform.privileged.runtime import RuntimeDirectory
from tests.e2e.wait import wait_until

SO_PEERCRED = 17
UCRED = Struct("=iII")
"""struct ucred of Linux: process, user, group"""

ACCOUNT = find_account(usual_account())
PATIENCE = 30.0


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    """Readable by every user."""
    with tempfile.TemporaryDirectory(prefix="tr-") as made:
        Path(made).chmod(0o755)
        yield Path(made) / "t"


class Unrecorded:
    """The part of an undoer that is needed here: the directory is removed by the test."""

    def record(self, entry: object) -> None: ...


def credentials(sock: socket.socket) -> Credentials:
    """Those of LOCAL_PEERCRED."""
    _, user, group = UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, SO_PEERCRED, UCRED.size))
    return Credentials(user, group)


def answer_all(listener: CheckedListener, end: int) -> None:
    """Each request with itself."""
    while True:
        ready, _, _ = select.select([listener.fileno(), end], [], [])
        if end in ready:
            return
        with suppress(BlockingIOError):
            accepted, _ = listener.accept()
            with accepted, accepted.makefile("rb") as lines:
                accepted.sendall(lines.readline())


@pytest.fixture(scope="module")
def control(directory: Path) -> Iterator[Path]:
    """A control socket as on a Mac, behind which every request is answered."""
    runtime = RuntimeDirectory(lambda: (directory,), "df", CONNECTORS)
    opened = control_socket(runtime, "utun11", cast(Any, Unrecorded()))
    listener = CheckedListener(opened.family, opened.type, opened.proto, fileno=opened.detach())
    former, peer.peer_credentials = peer.peer_credentials, credentials
    ended, end = os.pipe()
    thread = threading.Thread(target=answer_all, args=(listener, ended))
    thread.start()
    yield runtime.sockets()["utun11"]
    os.close(end)
    thread.join()
    os.close(ended)
    listener.close()
    peer.peer_credentials = former


@pytest.fixture(scope="module")
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        found: int = free.getsockname()[1]
        return found


@pytest.fixture(scope="module")
def web(control: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    log = control.with_name("log")
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.macos_web", str(control.parent), str(port)],
            stderr=output,
            text=True,
        )
    try:
        wait_until(lambda: "web page: " in log.read_text(), "the page", detail=log.read_text)
        yield process
    finally:
        process.kill()
        process.wait()


def answer(port: int, path: str) -> object:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE) as reply:
        return json.load(reply)


def rights(pid: int) -> tuple[set[str], set[str], str]:
    """Its users and groups (real, effective, saved, of the file system), and the others."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    found = dict(line.split(":", 1) for line in lines)
    return set(found["Uid"].split()), set(found["Gid"].split()), found["Groups"].strip()


def test_both_processes_have_given_up_root(web: subprocess.Popen[str], port: int) -> None:
    assert ACCOUNT is not None
    (server,) = map(int, Path(f"/proc/{web.pid}/task/{web.pid}/children").read_text().split())
    assert rights(web.pid) == ({str(ACCOUNT.user)}, {"0"}, "")
    assert rights(server) == ({str(ACCOUNT.user)}, {str(ACCOUNT.group)}, "")


def test_the_router_is_asked_all_the_same(web: subprocess.Popen[str], port: int) -> None:
    for _ in range(3):
        assert answer(port, "/api/status") == {"command": "status"}


@pytest.mark.parametrize("group", [0, 65534])
def test_others_are_not_served(control: Path, group: int) -> None:
    """Another user of the group is closed at once; one that is in no such group may not connect."""
    child = os.fork()
    if not child:
        with suppress(BaseException):
            os.setgroups([])
            os.setgid(group)
            os.setuid(12345)
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
                sock.connect(str(control))
                sock.settimeout(PATIENCE)
                os._exit(1 if sock.recv(1) else 2)
        os._exit(3)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == (2 if group == 0 else 3)


def test_it_ends_by_a_signal(web: subprocess.Popen[str]) -> None:
    web.send_signal(signal.SIGINT)
    assert web.wait(PATIENCE) == 0
