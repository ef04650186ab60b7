"""Running routers are found by their listening sockets."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from router.platform.linux import runtime
from router.platform.linux.own_tuns import own_tuns
from router.platform.linux.runtime import runtime_directory

HEAD = "Num       RefCount Protocol Flags    Type St Inode Path\n"
FREE, LISTENING = "00000000", "00010000"


def listed(flags: str, path: str) -> str:
    return f"0000000000000000: 00000002 00000000 {flags} 0001 01 52414{path and ' '}{path}\n"


@pytest.fixture
def listing(tmp_path: Path) -> Path:
    here = runtime_directory()
    elsewhere = here.with_name("net-1")
    path = tmp_path / "unix"
    path.write_text(
        HEAD
        + listed(LISTENING, f"{here}/tun11.sock.4711")
        + listed(LISTENING, f"{here}/my.sock.sock.12")
        + listed(FREE, f"{here}/tun12.sock.4712")
        + listed(FREE, "")
        + listed(LISTENING, f"{elsewhere}/tun13.sock.4713")
        + listed(LISTENING, f"/tmp{here}/tun14.sock.4714")
        + listed(LISTENING, "@abstract one"),
    )
    return path


def test_those_that_listen_in_this_namespace(listing: Path) -> None:
    assert own_tuns(listing) == {"tun11", "my.sock"}


def test_nothing_can_be_read(tmp_path: Path) -> None:
    assert own_tuns(tmp_path / "absent") == frozenset()


def test_the_kernel_lists_a_socket_until_it_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "RUN", tmp_path)
    directory = runtime_directory()
    directory.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(directory / "tun11.sock.1"))
        assert own_tuns() == frozenset()
        sock.listen()
        assert own_tuns() == {"tun11"}
    assert own_tuns() == frozenset()
