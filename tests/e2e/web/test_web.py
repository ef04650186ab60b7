"""The web process: its numbers against what was sent, its rights, and what ends it."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from tests.e2e import ping
from tests.e2e.direct.ends import is_direct
from tests.e2e.netns import Namespace
from tests.e2e.status import read_status
from tests.e2e.testbed import V4, Testbed
from tests.e2e.tunrouter import PROGRAM, Tunrouter, run_to_end, running
from tests.e2e.wait import wait_until
from tests.e2e.web.web_client import (
    PORT,
    URL,
    Metrics,
    connected,
    get,
    get_json,
    is_served,
    metrics,
    web_by_hand,
    web_rules,
)

HOME, DROP, REPLY = 1, 2, 3
RULES = web_rules(*(f"{V4.far(n)} -> {p}" for n, p in ((HOME, "home"), (DROP, "drop"))))
PINGS = 500
PING_BYTES = 84
DOWNLOAD = 10_000_000
HTTP_PORT = 8080
HEADERS = 60
"""Bytes of IP and TCP in a packet at most, and of HTTP in all fewer than HTTP_HEADERS."""
HTTP_HEADERS = 1000
MTU = 1500
SERVED_BY = ("anyio", "click", "h11", "idna", "prometheus_client", "starlette", "uvicorn")
TOKEN = "a-token-of-24-characters"

pytestmark = [pytest.mark.rules(RULES), pytest.mark.usefixtures("served")]


@pytest.fixture(scope="module")
def file(bed: Testbed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An HTTP server on the far host; the address of a file of DOWNLOAD bytes."""
    directory = tmp_path_factory.mktemp("www")
    Path(directory, "file").write_bytes(random.Random(3).randbytes(DOWNLOAD))
    server = bed.far.start(
        *(sys.executable, "-m", "http.server", "--directory", str(directory), str(HTTP_PORT))
    )
    wait_until(
        lambda: f":{HTTP_PORT} " in bed.far.run("ss", "-Hltn").stdout,
        "the server",
        detail=server.report,
    )
    yield f"http://{V4.far(HOME)}:{HTTP_PORT}/file"
    server.close()


@pytest.fixture(scope="module")
def direct(bed: Testbed) -> None:
    """The router's own machine sends directly, and the connection that has shown it is over."""
    host = V4.far(HOME)
    wait_until(lambda: is_direct(bed, V4, host), "the direct path")
    known = ("ss", "-Htn", "dst", host)
    wait_until(lambda: not bed.router.run(*known).stdout, "its connections to end")


@pytest.fixture(params=["relayed", "direct"])
def sender(request: pytest.FixtureRequest, bed: Testbed, direct: None) -> Namespace:
    """A LAN host, whose packets are relayed, or the router's own machine."""
    return bed.client if request.param == "relayed" else bed.router


class Increase:
    """Of the metrics since the beginning."""

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace
        self._before = metrics(namespace)

    def now(self) -> Metrics:
        present = metrics(self._namespace)
        return {name: value - self._before.get(name, 0) for name, value in present.items()}


def test_pings_are_counted_exactly(bed: Testbed, sender: Namespace) -> None:
    increase, before = Increase(bed.router), read_status(bed.router)
    options = ("-c", str(PINGS), "-i", "0.001", "-q")
    assert ping.answered(sender, V4.far(HOME), "-i", "0.001", count=PINGS).received == PINGS
    sender.run("ping", *options, "-W", "1", V4.far(DROP), check=False)
    expected = {
        ("packets_total", "out", "home"): PINGS,
        ("packets_total", "in", "home"): PINGS,
        ("bytes_total", "out", "home"): PINGS * PING_BYTES,
        ("bytes_total", "in", "home"): PINGS * PING_BYTES,
        ("packets_total", "out", "drop"): PINGS,
        ("packets_total", "in", "drop"): 0,
        ("drops_total", "drop"): PINGS,
        ("rule_packets_total", "drop", "2"): PINGS,
    }

    def counted() -> Metrics:
        now = increase.now()
        return {name: now[name] for name in expected}

    wait_until(lambda: counted() == expected, "the counters", detail=lambda: str(counted()))
    after = read_status(bed.router)
    dropped = after["drops"]["drop"] - before["drops"].get("drop", 0)
    home = after["policies"]["home"]["packets_out"] - before["policies"]["home"]["packets_out"]
    assert (home, dropped) == (PINGS, PINGS)


def test_the_bytes_of_a_download_are_counted(bed: Testbed, sender: Namespace, file: str) -> None:
    increase, before = Increase(bed.router), segments_sent_again(bed.far)
    sender.run("curl", "-sS", "--fail", "-o", os.devnull, file, timeout=60)

    def is_counted() -> bool:
        now = increase.now()
        surplus = now["bytes_total", "in", "home"] - DOWNLOAD
        headers = HEADERS * now["packets_total", "in", "home"] + HTTP_HEADERS
        return 0 <= surplus <= headers + MTU * (segments_sent_again(bed.far) - before)

    wait_until(is_counted, "the bytes", detail=lambda: str(increase.now()))


def segments_sent_again(namespace: Namespace) -> int:
    """On a busy machine there are some, which arrive as well (Tcp: RetransSegs)."""
    names, values = (
        line.split()
        for line in namespace.run("cat", "/proc/net/snmp").stdout.splitlines()
        if line.startswith("Tcp:")
    )
    return int(values[names.index("RetransSegs")])


def test_the_answers_are_those_of_the_commands(bed: Testbed) -> None:
    status = get_json(bed.router, "/api/status")
    known = read_status(bed.router)
    assert {*status} == {*known}
    assert status["policies"].keys() == known["policies"].keys()
    assert get_json(bed.router, "/api/flows").keys() == {"flows", "total", "unread"}
    asked = f"/api/explain?destination={V4.far(DROP)}&protocol=tcp&port=443"
    by_command = bed.router.run(
        *(PROGRAM, "explain", V4.far(DROP), "--protocol", "tcp", "--port", "443"),
        *("-c", known["rules_file"]),
    ).stdout
    assert get_json(bed.router, asked)["text"] == by_command.removesuffix("\n")
    named = get_json(bed.router, "/api/explain?destination=localhost")
    assert {each["destination"] for each in named["answers"]} <= {"127.0.0.1", "::1"}
    assert "no address" in get_json(bed.router, "/api/explain?destination=no.such.invalid")["error"]


def test_what_is_refused(bed: Testbed) -> None:
    def code(*options: str) -> str:
        shown = ("-s", "-o", os.devnull, "-w", "%{http_code}")
        return bed.router.run("curl", *shown, *options).stdout

    status = f"{URL}/api/status"
    assert code(status) == "200"
    assert code("-X", "POST", status) == "405"
    assert code("-H", "Host: evil.example", status) == "421"
    assert code("-H", "Origin: http://evil.example", status) == "403"
    assert code(f"{URL}/../../etc/passwd", "--path-as-is") == "404"


def test_the_processes_have_no_rights(bed: Testbed, router: Tunrouter) -> None:
    """The one that requests reach is nobody's and cannot connect; the other has no capability."""
    server, connector = web_processes(bed.router)
    for pid, user in ((server, "65534"), (connector, "0")):
        status = Path(f"/proc/{pid}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines())
        assert fields["Uid"].split() == [user] * 4
        assert {fields[name] for name in ("CapEff", "CapPrm", "CapBnd")} == {"0" * 16}
        assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2")
    assert TOKEN not in Path(f"/proc/{connector}/cmdline").read_text()


def web_processes(namespace: Namespace) -> tuple[int, int]:
    """The server, and the connector, its parent."""
    found: dict[int, int] = {}
    for pid in namespace.pids():
        with contextlib.suppress(OSError):
            if "router.control.web" in Path(f"/proc/{pid}/cmdline").read_text():
                found[pid] = int(
                    Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
                )
    (server,) = (pid for pid in found if found[pid] in found)
    return server, found[server]


def test_one_that_is_killed_is_started_again(bed: Testbed, router: Tunrouter) -> None:
    server, connector = web_processes(bed.router)
    os.kill(server, signal.SIGKILL)
    wait_until(lambda: is_served(bed.router), "another one", detail=lambda: router.log)
    os.kill(web_processes(bed.router)[1], signal.SIGKILL)
    wait_until(lambda: "started again in 2 s" in router.log, "its end", detail=lambda: router.log)
    wait_until(lambda: is_served(bed.router), "a third one", detail=lambda: router.log)
    assert {server, connector}.isdisjoint(web_processes(bed.router))


def test_a_reload_starts_moves_and_ends_it(bed: Testbed, router: Tunrouter, tmp_path: Path) -> None:
    token_file = tmp_path / "token"
    token_file.write_text(TOKEN + "\n")
    token_file.chmod(0o600)
    web = f'web: {{listen: "0.0.0.0:9470", token_file: {token_file}}}\n'
    url = "http://127.0.0.1:9470"
    try:
        assert "reloaded" in router.reload(web_rules(f"{V4.far(HOME)} -> home", web=web))
        wait_until(lambda: "0.0.0.0:9470/ (with a token)" in router.log, "the other address")
        assert not is_served(bed.router)
        assert not is_served(bed.router, url), "no token"
        at_lan = f"http://{V4.lan}:9470"
        bearer = ("-H", f"Authorization: Bearer {TOKEN}")
        assert '"pid"' in get(bed.client, "/api/status", *bearer, url=at_lan)
        assert '"pid"' in get(bed.client, "/api/status", "-u", f"any:{TOKEN}", url=at_lan)
        wrong = bed.client.run("curl", "-s", "-i", "-u", "a:b", f"{at_lan}/", check=False).stdout
        assert " 401 " in wrong
        refused = router.reload(
            web_rules(f"{V4.far(HOME)} -> home", web='web: {listen: "0.0.0.0:9470"}\n')
        )
        assert refused.startswith("not reloaded")
        assert "reloaded" in router.reload(web_rules(f"{V4.far(HOME)} -> home", web=""))
        wait_until(lambda: not web_pids(bed.router), "its end")
    finally:
        router.reload(RULES)
        wait_until(lambda: is_served(bed.router), "the first address", detail=lambda: router.log)


def web_pids(namespace: Namespace) -> list[int]:
    found = []
    for pid in namespace.pids():
        with contextlib.suppress(OSError):
            if "router.control.web" in Path(f"/proc/{pid}/cmdline").read_text():
                found.append(pid)
    return found


def test_clients_that_read_nothing_or_send_garbage_hold_up_nobody(bed: Testbed) -> None:
    """A thousand of them; neither a packet nor another client of the page waits."""
    silent: list[socket.socket] = []
    pings = ping.start(bed.client, V4.far(HOME), "-i", "0.002")
    try:
        for number in range(1000):
            client = connected(bed.router)
            with contextlib.suppress(OSError):
                if number % 3 == 1:
                    client.sendall(b"GET /api/flows HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20)
                elif number % 3 == 2:
                    client.sendall(random.Random(number).randbytes(10_000))
            silent.append(client)
        assert get_json(bed.router, "/api/status")["pid"]
        with connected(bed.router) as client, contextlib.suppress(OSError):
            for _ in range(100):
                client.sendall(bytes(1_000_000))
        assert get_json(bed.router, "/api/status")["pid"]
        ping.wait_for_the_rest(pings)
    finally:
        pings.close()
        for client in silent:
            client.close()


def test_it_ends_with_the_router_however_that_ends(bed: Testbed, tmp_path: Path) -> None:
    text = RULES.replace("tun11", "tun12").replace("192.168.7.", "192.168.8.")
    text = text.replace("fd77::", "fd78::").replace(str(PORT), "9471")
    before = set(web_pids(bed.router))
    for by in (signal.SIGTERM, signal.SIGKILL):
        with running(bed.router, tmp_path, text) as router:
            wait_until(lambda: is_served(bed.router, "http://127.0.0.1:9471"), "the page")
            router.stop(by)
            wait_until(lambda: set(web_pids(bed.router)) == before, "its end")


def test_by_hand(bed: Testbed, tmp_path: Path) -> None:
    with web_by_hand(bed.router, "--listen", "127.0.0.1:9480") as process:
        assert '"pid"' in get(bed.router, "/api/status", url="http://127.0.0.1:9480")
        second = run_to_end(bed.router, "web", "--listen", "127.0.0.1:9480")
        assert second.exit_code == 1
        assert "Address already in use" in second.log
        assert process.running
    refused = run_to_end(bed.router, "web", "--listen", "0.0.0.0:9480")
    assert (refused.exit_code, "no token is set" in refused.log) == (2, True)
    elsewhere = run_to_end(bed.router, "web", "--listen", "203.0.113.77:9480", "--token-file", "no")
    assert elsewhere.exit_code == 2
    low = run_to_end(bed.router, "web", "--listen", "127.0.0.1:80")
    assert (low.exit_code, "from 1024 on" in low.log) == (1, True)


def test_it_serves_from_where_only_root_may_read(bed: Testbed, tmp_path: Path) -> None:
    """All that it needs is read before it gives up its rights."""
    private = tmp_path / "private"
    packages = private / "packages"
    for name in ("router", *SERVED_BY):
        folder = import_module(name).__path__[0]
        shutil.copytree(folder, packages / name)
    private.chmod(0o700)
    command = (sys.executable, "-P", "-m", "router.cli", "web", "--listen", "127.0.0.1:9481")
    process = bed.router.start(*command, env={"PYTHONPATH": str(packages)})
    url = "http://127.0.0.1:9481"
    try:
        process.wait_for_output("web page: ")
        for path in ("/", "/app.js", "/api/page", "/api/status", "/metrics", "/api/history"):
            assert get(bed.router, path, url=url), path
        assert "text" in get(bed.router, "/api/explain?destination=localhost", url=url)
        for path, code in (("/no-such", "404"), ("/api/flows?rule=x", "400")):
            shown = ("-s", "-o", os.devnull, "-w", "%{http_code}")
            assert bed.router.run("curl", *shown, url + path).stdout == code
        assert process.stop() == 0
        assert process.stderr.count("\n") == 1, process.stderr
    finally:
        process.close()
