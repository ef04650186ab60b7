"""Passwords of SOCKS5 proxies, right and wrong ones, of a variable and of a file, are in nothing
that the router writes, answers or shows to other users."""

from __future__ import annotations

import base64
import json
import pwd
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from router.cli import main
from router.control.client import request
from tests.e2e import proxies, sockets
from tests.e2e.processes import Process
from tests.e2e.proxies import MICROSOCKS, PASSWORD, USER
from tests.e2e.status import socket_of
from tests.e2e.testbed import V4, V6, Testbed
from tests.e2e.tunrouter import (
    GUARD,
    PROGRAM,
    ROUTER,
    TUN,
    UNDOER,
    Tunrouter,
    files_of,
    rules,
    running,
)
from tests.e2e.wait import wait_until
from tests.e2e.web.web_client import WEB, get, is_served

WRONG: Final = "the-wrong-one-of-a-file"
WRONG_TOO: Final = "the-wrong-one-of-a-variable"
SECRETS: Final = (PASSWORD, WRONG, WRONG_TOO)
VARIABLES: Final = {"RIGHT_PASSWORD": PASSWORD, "WRONG_PASSWORD": WRONG_TOO}
NAMES: Final = ("by_file", "by_variable", "wrong_file", "wrong_variable")
SEEN: Final = 10
"""Packets."""
CLOSED: Final = 4999
PROXY: Final = f'type: socks5, server: "{V4.gateway}:{MICROSOCKS}", username: {USER}'
HEAD: Final = f"""\
version: 1
tun: {{name: {TUN}, address: [{V4.tun}/30, "{V6.tun}/126"]}}
policies:
  by_file: {{{PROXY}, password_file: right}}
  by_variable: {{{PROXY}, password_env: RIGHT_PASSWORD}}
  wrong_file: {{{PROXY}, password_file: wrong}}
  wrong_variable: {{{PROXY}, password_env: WRONG_PASSWORD}}
"""
HOSTS: Final = {name: V4.far(host) for host, name in enumerate(NAMES, start=1)}
RULES: Final = rules(*(f"{host} -> {name}" for name, host in HOSTS.items()), head=HEAD) + WEB
SLIP: Final = RULES.replace("password_env: WRONG_PASSWORD", f"password: {WRONG_TOO}")
"""With a password in the rules file, which is an error."""


def forms(secret: str) -> Iterator[bytes]:
    """As text, in hexadecimal, and in base64 wherever it stands in what is encoded."""
    plain = secret.encode()
    yield plain
    yield plain.hex().encode()
    yield plain.hex().upper().encode()
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + plain).decode()
        yield encoded[-(-before * 8 // 6) : (before + len(plain)) * 8 // 6].encode()


def secrets_in(text: str | bytes) -> list[str]:
    data = text.encode() if isinstance(text, str) else text
    return [each for each in SECRETS if any(form in data for form in forms(each))]


@pytest.mark.parametrize("before", ["", "x", "me:", "user"])
def test_an_encoded_password_is_found(before: str) -> None:
    data = f"{before}{WRONG}?".encode()
    for text in (data, data.hex().encode(), base64.b64encode(data)):
        assert secrets_in(text) == [WRONG]
    assert secrets_in("the-wrong-one") == []


@pytest.fixture(scope="module")
def router(bed: Testbed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tunrouter]:
    directory = tmp_path_factory.mktemp("secrets")
    for name, text in (("right", PASSWORD), ("wrong", WRONG)):
        (directory / name).write_text(text + "\n", encoding="utf-8")
        (directory / name).chmod(0o600)
    prefix = ("env", *(f"{name}={value}" for name, value in VARIABLES.items()))
    options = ("--log-level", "debug", "--watch")
    with (
        proxies.microsocks(bed.gw),
        running(bed.router, directory, RULES, prefix=prefix, options=options) as router,
    ):
        wait_until(lambda: is_served(bed.router), "the web process", detail=lambda: router.log)
        for name in ("wrong_file", "wrong_variable"):
            router.wait_until_down(name)
        yield router


def use(bed: Testbed) -> None:
    """Connections by each of them."""
    with sockets.listener(bed.far) as listener:
        port = sockets.port_of(listener)
        for name in ("by_file", "by_variable"):
            sockets.connected(bed.client, V4, HOSTS[name], port).close()
    for name in ("wrong_file", "wrong_variable"):
        with pytest.raises(ConnectionRefusedError):
            sockets.connected(bed.client, V4, HOSTS[name], CLOSED)


def has_used(bed: Testbed, traced: Process) -> bool:
    """Whether the trace has seen the connections; it may have begun after some."""
    use(bed)
    return traced.stdout.count("\n") >= SEEN


def test_what_the_router_writes(bed: Testbed, router: Tunrouter, tmp_path: Path) -> None:
    """Its log, with a reload that is refused, a trace and its file, and what is in /run."""
    captured = tmp_path / "trace.pcapng"
    options = ("--json", "--pcap", str(captured))
    traced = bed.router.start(PROGRAM, "trace", *options, "tcp")
    try:
        wait_until(lambda: has_used(bed, traced), "packets in the trace")
        traced.stop()
        wait_until(captured.exists, "the file")
        assert secrets_in(traced.stdout + traced.stderr) == []
        assert secrets_in(captured.read_bytes()) == []
    finally:
        traced.close()
    assert "reload" in router.reload(SLIP)
    wait_until(lambda: "password-in-rules" in router.log, "the reason", detail=lambda: router.log)
    assert router.reload(RULES).startswith("reloaded")
    assert "refuses the user name or password" in router.log
    assert secrets_in(router.log) == []
    files = [each for each in files_of(bed.router) if each.is_file()]
    assert files
    assert not [each for each in files if secrets_in(each.read_bytes())]


QUESTIONS: Final[tuple[dict[str, Any], ...]] = (
    {"command": "status"},
    {"command": "flows", "version": 2},
    {"command": "explain", "version": 2, "destination": HOSTS["wrong_variable"]},
)
PATHS: Final = ("/metrics", "/api/page", "/api/status", "/api/flows", "/api/events")


def test_what_the_router_answers(bed: Testbed, router: Tunrouter) -> None:
    """To `status`, `flows`, `explain`, and to the web process."""
    use(bed)
    for question in QUESTIONS:
        answer = request(socket_of(bed.router), question)
        assert answer
        assert secrets_in(json.dumps(answer)) == [], question
    for path in PATHS:
        assert secrets_in(get(bed.router, path)) == [], path


@pytest.mark.parametrize("text", [RULES, SLIP], ids=["right", "slip"])
@pytest.mark.parametrize(
    "command",
    [
        *(("check", "--strict", "--format", form) for form in ("text", "json", "github")),
        *(("explain", HOSTS["by_file"], *form) for form in ((), ("--json",))),
    ],
    ids=" ".join,
)
def test_what_commands_that_read_the_rules_show(
    router: Tunrouter,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    command: tuple[str, ...],
    text: str,
) -> None:
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    file = router.rules_file.with_name("others.yaml")
    file.write_text(text, encoding="utf-8")
    main([*command, "-c", str(file)])
    shown = "".join(capfd.readouterr())
    assert "password-in-rules" in shown or text == RULES or command[0] == "explain"
    assert shown
    assert secrets_in(shown) == []


def test_what_other_users_see_of_its_processes(bed: Testbed, router: Tunrouter) -> None:
    """The command lines, and what an account that some of them have can read of their
    environments. The web process, which needs no password, has none."""
    pids = router.pids()
    is_web_seen = False
    account = pwd.getpwnam("nobody")
    for pid in pids:
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue  # what has explained, or read the rules
        assert secrets_in(command) == []
        file = f"/proc/{pid}/environ"
        read = subprocess.run(
            ["cat", file],
            user=account.pw_uid,
            group=account.pw_gid,
            extra_groups=(),
            check=False,
            capture_output=True,
        )
        assert secrets_in(read.stdout) == []
        if b"router.control.web" in command:
            is_web_seen = True
            assert secrets_in(Path(file).read_bytes()) == []
    assert is_web_seen
    assert set(router.processes()) == {ROUTER, GUARD, UNDOER}
