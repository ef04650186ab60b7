"""Programs by SOCKS5 proxies that demand a login, stand behind each other, or go away."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest

from tests.e2e import proxies, sockets
from tests.e2e.proxies import (
    BRIEF,
    DANTE,
    MICROSOCKS,
    PASSWORD,
    SHADOWSOCKS,
    SING_BOX,
    SSH,
    USER,
)
from tests.e2e.status import read_status
from tests.e2e.testbed import FAMILIES, V4, V6, Family, Testbed
from tests.e2e.tunrouter import PROGRAM, TUN, Tunrouter, rules, running
from tests.e2e.udp import add_bare_routes, exchange, sixteen
from tests.e2e.wait import wait_until

LOGIN, BEHIND, BY_VPN, MIXED, BRIEFLY, BY_SSH, EARLY = 16, 32, 48, 80, 96, 112, 128
HOSTS = {
    "login": LOGIN,
    "behind": BEHIND,
    "by_vpn": BY_VPN,
    "ssh": BY_SSH,
    "mixed": MIXED,
    "brief": BRIEFLY,
    "early": EARLY,
}
CLOSED = 4999
FAR = "10.2.0.2"
HTTP, FLOWS = 8099, 40
WITH_LOGIN = f"username: {USER}, password_file: word"
HEAD = f"""\
version: 1
tun: {{name: {TUN}, address: [{V4.tun}/30, "{V6.tun}/126"]}}
policies:
  office: {{type: vpn, interface: wg0}}
  login: {{type: socks5, server: "{V4.gateway}:{DANTE}", {WITH_LOGIN}}}
  behind: {{type: socks5, server: "{FAR}:{MICROSOCKS}", via: login, {WITH_LOGIN}}}
  by_vpn: {{type: socks5, server: "{V4.vpn_wg0}:{MICROSOCKS}", via: office, {WITH_LOGIN}}}
  ssh: {{type: socks5, server: "127.0.0.1:{SSH}"}}
  early: {{type: socks5, server: "{V4.gateway}:{SHADOWSOCKS}"}}
  brief: {{type: socks5, server: "{V4.gateway}:{BRIEF}", {WITH_LOGIN}}}
  mixed: {{type: socks5, server: "{V4.gateway}:{SING_BOX}"}}
"""
RULES = rules(
    *(f"{sixteen(family, host)} -> {name}" for family in FAMILIES for name, host in HOSTS.items()),
    head=HEAD,
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("socks")
    (directory / "word").write_text(PASSWORD, encoding="utf-8")
    (directory / "word").chmod(0o600)
    return directory


@pytest.fixture(scope="module")
def router(bed: Testbed, udp_servers: None, directory: Path) -> Iterator[Tunrouter]:
    with ExitStack() as stack:
        stack.enter_context(proxies.accounts(bed.gw))
        stack.enter_context(proxies.dante(bed.gw, directory, "username"))
        stack.enter_context(proxies.microsocks(bed.far, address=FAR))
        stack.enter_context(proxies.microsocks(bed.vpn, address=V4.vpn_wg0))
        stack.enter_context(proxies.shadowsocks(bed.gw))
        (directory / "dynamic").mkdir()
        stack.enter_context(proxies.ssh(bed.router, bed.gw, directory / "dynamic"))
        stack.enter_context(proxies.sing_box(bed.gw, directory))
        yield stack.enter_context(running(bed.router, directory, RULES))


@pytest.fixture
def reopened_tunnel_with_routes(bed: Testbed, reopened_tunnel: None) -> Iterator[None]:
    """Those of udp.far_hosts, which removes them."""
    yield
    if not bed.router.has_interface("wg0"):
        bed.open_tunnel()
        add_bare_routes(bed)


def pass_bytes(bed: Testbed, host: int, family: Family = V4) -> None:
    """To the far host and back."""
    with (
        sockets.listener(bed.far) as listener,
        sockets.connected(
            bed.client, family, family.far(host), sockets.port_of(listener)
        ) as client,
    ):
        accepted, _ = listener.accept()
        with accepted:
            client.sendall(b"hello")
            assert accepted.recv(5, socket.MSG_WAITALL) == b"hello"
            accepted.sendall(b"HELLO")
            assert client.recv(5, socket.MSG_WAITALL) == b"HELLO"


@pytest.mark.parametrize("name", ["login", "behind", "by_vpn"])
def test_a_connection_passes(bed: Testbed, router: Tunrouter, name: str) -> None:
    pass_bytes(bed, HOSTS[name])


def test_check_tries_proxies_by_their_ways(bed: Testbed, router: Tunrouter) -> None:
    """By the tunnel, and behind another proxy; the only one that is not there is `brief`."""
    command = (PROGRAM, "check", "-c", str(router.rules_file), "--format", "json")
    problems = json.loads(bed.router.run(*command).stdout)["problems"]
    found = [each for each in problems if each["code"].startswith("proxy-")]
    assert [(each["severity"], each["message"]) for each in found] == [
        ("warning", f"the proxy {V4.gateway}:{BRIEF} cannot be reached now: Connection refused")
    ]


def test_a_proxy_that_stops_in_the_middle(bed: Testbed, router: Tunrouter) -> None:
    router.wait_until_down("brief")
    with sockets.listener(bed.far) as listener, ExitStack() as stack:
        with proxies.microsocks(bed.gw, BRIEF):
            wait_until(lambda: state(bed, "brief") == "up", "brief to be up")
            port = sockets.port_of(listener)
            client = sockets.connected(bed.client, V4, V4.far(BRIEFLY), port)
            stack.enter_context(client)
            stack.enter_context(listener.accept()[0])
        with suppress(ConnectionResetError):
            assert client.recv(1) == b""
    with pytest.raises(ConnectionRefusedError):
        sockets.connected(bed.client, V4, V4.far(BRIEFLY), port)
    with proxies.microsocks(bed.gw, BRIEF):
        wait_until(lambda: state(bed, "brief") == "up", "brief to be up again")
        pass_bytes(bed, BRIEFLY)


def test_iperf3_and_curl(bed: Testbed, router: Tunrouter, directory: Path) -> None:
    server = (
        sys.executable,
        "-m",
        "http.server",
        str(HTTP),
        "--bind",
        "::",
        "--directory",
        str(directory),
    )
    (directory / "file").write_bytes(bytes(range(256)) * 4000)
    for family in FAMILIES:
        for way in ((), ("--reverse",)):
            # One for each: that has not finished the last one refuses the next as busy.
            with closing(bed.far.start("iperf3", "-s", "-1", "--forceflush")) as iperf:
                iperf.wait_for_output("Server listening")
                bed.client.run("iperf3", "-c", family.far(LOGIN), "-n", "10M", *way)
    with proxies.started(bed.far, HTTP, *server):
        for host in (V4.far(BEHIND), f"[{V6.far(BY_SSH)}]"):
            url = f"http://{host}:{HTTP}/file"
            bed.client.run("curl", "-gsS", "-o", str(directory / "fetched"), url)
            assert (directory / "fetched").read_bytes() == (directory / "file").read_bytes()


def test_git_and_rsync_over_ssh(bed: Testbed, router: Tunrouter, directory: Path) -> None:
    """By dante, and by ssh -D: ssh inside ssh; both families."""
    origin = directory / "origin"
    git = ("git", "-c", "user.name=me", "-c", "user.email=me@example.org")
    bed.far.run(*git, "init", "-q", str(origin))
    bed.far.run(*git, "-C", str(origin), "commit", "-q", "--allow-empty", "-m", "first")
    with proxies.sshd(bed.far, directory) as options:
        ssh = f"ssh {' '.join(options)}"
        for number, host in enumerate((V4.far(LOGIN), f"[{V6.far(BY_SSH)}]")):
            url, clone = f"ssh://root@{host}{origin}", str(directory / f"clone{number}")
            bed.client.run(*git, "-c", f"core.sshCommand={ssh}", "clone", "-q", url, clone)
            assert bed.client.run(*git, "-C", clone, "log", "--format=%s").stdout == "first\n"
        copy = directory / "copy"
        bed.client.run("rsync", "-a", "-e", ssh, f"root@{V4.far(BY_SSH)}:{origin}/", str(copy))
        assert (copy / ".git/HEAD").read_bytes() == (origin / ".git/HEAD").read_bytes()


def test_a_proxy_that_says_success_before_it_knows(
    bed: Testbed, router: Tunrouter, family: Family
) -> None:
    """What the proxy ends before a byte came is reset, and what has sent one ends as it does."""
    for _ in range(2):
        with (
            pytest.raises(ConnectionResetError),
            sockets.connected(bed.client, family, family.far(EARLY), CLOSED) as client,
        ):
            client.recv(1)
    pass_bytes(bed, EARLY, family)
    clause = "says that it has connected before it knows"
    assert read_status(bed.router)["policies"]["early"]["found"] == [clause]
    assert router.log.count(clause) == 1


@pytest.mark.parametrize("name", ["login", "ssh"])
def test_an_end_without_a_byte_by_a_proxy_that_knows(
    bed: Testbed, router: Tunrouter, name: str
) -> None:
    with sockets.listener(bed.far) as listener:
        port = sockets.port_of(listener)
        with sockets.connected(bed.client, V4, V4.far(HOSTS[name]), port) as client:
            listener.accept()[0].close()
            assert client.recv(1) == b""
    assert read_status(bed.router)["policies"][name]["found"] == []


def test_many_udp_flows(bed: Testbed, router: Tunrouter) -> None:
    seen = exchange(bed.client, V4.far(LOGIN), sends=[5], sockets=FLOWS)
    assert len(seen.found) == FLOWS
    assert "silence" not in seen.found


def test_sing_box(bed: Testbed, router: Tunrouter) -> None:
    pass_bytes(bed, MIXED)
    seen = exchange(bed.client, V4.far(MIXED), sends=[5, 1200], sockets=2)
    assert "silence" not in seen.found


def test_what_passes_ends_with_the_way_to_the_proxy(
    bed: Testbed, router: Tunrouter, reopened_tunnel_with_routes: None
) -> None:
    with sockets.listener(bed.far) as listener:
        port = sockets.port_of(listener)
        with sockets.connected(bed.client, V4, V4.far(BY_VPN), port) as client:
            accepted, _ = listener.accept()
            with accepted:
                bed.close_tunnel()
                with pytest.raises(ConnectionResetError):
                    client.recv(1)
    router.wait_until_down("by_vpn")
    assert "'office', by which it is reached, is down" in router.log
    with pytest.raises(ConnectionRefusedError):
        sockets.connected(bed.client, V4, V4.far(BY_VPN), port)


def state(bed: Testbed, policy: str) -> str:
    found: str = read_status(bed.router)["policies"][policy]["state"]
    return found
