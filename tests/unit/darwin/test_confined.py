"""The rights of the two processes of the web process on a Mac."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from typing import Any, cast

import pytest

from router.platform import confine_connector as of_this_system
from router.platform.account import become
from router.platform.base.errors import PlatformError
from router.platform.darwin import confined
from router.platform.darwin.confined import confine_connector, confine_server
from router.platform.darwin.peer import Credentials, _may_connect
from router.platform.darwin.runtime import CONNECTORS, RUNTIME
from router.platform.privileged.control_socket import control_socket
from router.platform.privileged.runtime import RuntimeDirectory
from tests.unit.darwin.fake_credentials import NOBODY, WHEEL, FakeCredentials
from tests.unit.darwin.fake_credentials import credentials as credentials  # noqa: PLC0414


@pytest.fixture(autouse=True)
def left(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    done: list[str] = []
    monkeypatch.setattr(confined, "leave_terminal", lambda: done.append("terminal"))
    return done


def test_the_account_of_the_router_has_no_group_of_root(credentials: FakeCredentials) -> None:
    become("nobody")
    assert (credentials.user, credentials.groups) == (NOBODY, [NOBODY])
    assert not credentials.is_root_for_good
    assert NOBODY == credentials.real_group == credentials.saved_group
    with pytest.raises(PermissionError):
        os.setuid(0)
    with pytest.raises(PermissionError):
        os.setgid(WHEEL)


def test_the_server(credentials: FakeCredentials, left: list[str]) -> None:
    with confine_server():
        assert (credentials.user, credentials.groups) == (NOBODY, [NOBODY])
    assert not credentials.is_root_for_good
    assert left == ["terminal"]


def test_the_connector_may_connect_and_is_not_root(
    credentials: FakeCredentials, left: list[str]
) -> None:
    """It is ended by Ctrl-C, which a process without a controlling terminal does not get
    (kern/kern_sig.c, pgsignal)."""
    confine_connector()
    assert (credentials.user, credentials.groups) == (NOBODY, [CONNECTORS])
    assert not credentials.is_root_for_good
    assert left == []
    assert _may_connect(Credentials(credentials.user, credentials.groups[0]))
    with pytest.raises(PermissionError):
        os.setuid(0)


def test_of_a_user_that_is_not_root(credentials: FakeCredentials) -> None:
    credentials.user = credentials.real_user = credentials.saved_user = 501
    with pytest.raises(PlatformError, match="cannot become the user nobody"):
        confine_connector()


def test_a_mac_has_it(monkeypatch: pytest.MonkeyPatch, credentials: FakeCredentials) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    of_this_system()
    assert not credentials.is_root_for_good


def test_the_control_socket_is_for_root_and_that_group(tmp_path: Path) -> None:
    """Here that of whoever runs the test."""
    recorded: list[object] = []
    undoer = cast(Any, type("Undoer", (), {"record": recorded.append}))
    with tempfile.TemporaryDirectory(prefix="tr-") as directory:
        runtime = RuntimeDirectory(lambda: (Path(directory, "t"),), "df", os.getegid())
        with control_socket(runtime, "utun11", undoer):
            found = runtime.sockets()["utun11"].stat()
            assert stat.S_IMODE(found.st_mode) == 0o660
            assert found.st_gid == os.getegid()
    assert len(recorded) == 2
    assert RUNTIME.group == CONNECTORS == WHEEL
