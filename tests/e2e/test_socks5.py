"""Traffic by SOCKS5 proxies: what applications see is what they would see without a proxy."""

from __future__ import annotations

import errno
import json
import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import proxies, sockets
from tests.e2e.proxies import (
    BRIEF,
    DANTE,
    DRIP,
    EXCESS,
    GARBAGE,
    JOINED,
    LIMITED,
    MICROSOCKS,
    NEVER,
    PASSWORD,
    SSH,
    USER,
    V4_ONLY,
)
from tests.e2e.status import read_status
from tests.e2e.tcp_bed import alongside
from tests.e2e.testbed import FAMILIES, V4, V6, Family, Testbed
from tests.e2e.tunrouter import PROGRAM, TUN, Tunrouter, rules, running
from tests.e2e.udp import ECHO, exchange, sixteen
from tests.e2e.wait import wait_until

SYSTEM, VIA, LOGIN, WRONG, DRIPPING, JOINING, NONSENSE, SILENT = range(16, 144, 16)
BRIEFLY, BY_SSH, NAMED, TALKATIVE, IMPATIENT, BY_V4_ONLY = 144, 160, 176, 208, 224, 240
"""The first of sixteen far hosts each."""
HOSTS = {
    "system": SYSTEM,
    "via": VIA,
    "login": LOGIN,
    "wrong": WRONG,
    "drip": DRIPPING,
    "joined": JOINING,
    "nonsense": NONSENSE,
    "silent": SILENT,
    "brief": BRIEFLY,
    "ssh": BY_SSH,
    "named": NAMED,
    "excess": TALKATIVE,
    "limited": IMPATIENT,
    "v4_only": BY_V4_ONLY,
}
FILTERED, ROUTELESS = 0xC0, 0xC1
FILTERED_TOO = IMPATIENT + 1
ELSEWHERE = "10.2.0.2"
"""An address of `far`, where no proxy is."""
HALVES_TOGETHER = {LOGIN, BRIEFLY}
"""By a proxy that ends both directions when one ends."""
CLOSED = 4999
MANY = 500

HEAD = f"""\
version: 1
tun: {{name: {TUN}, address: [{V4.tun}/30, "{V6.tun}/126"]}}
policies:
  home: {{type: direct, interface: eth0}}
  system: {{type: socks5, server: "{V4.gateway}:{DANTE}"}}
  via: {{type: socks5, server: "[{V6.gateway}]:{DANTE}", via: home, icmp: reply}}
  login: {{type: socks5, server: "{V4.gateway}:{MICROSOCKS}", username: {USER},
          password_file: good}}
  wrong: {{type: socks5, server: "{V4.gateway}:{MICROSOCKS}", username: {USER}, password_file: bad}}
  drip: {{type: socks5, server: "{V4.gateway}:{DRIP}"}}
  joined: {{type: socks5, server: "{V4.gateway}:{JOINED}"}}
  nonsense: {{type: socks5, server: "{V4.gateway}:{GARBAGE}", on_down: drip}}
  limited: {{type: socks5, server: "{V4.gateway}:{LIMITED}"}}
  v4_only: {{type: socks5, server: "{V4.gateway}:{V4_ONLY}"}}
  excess: {{type: socks5, server: "{V4.gateway}:{EXCESS}"}}
  silent: {{type: socks5, server: "{V4.gateway}:{NEVER}"}}
  named: {{type: socks5, server: "proxy.example:{DANTE}"}}
  ssh: {{type: socks5, server: "127.0.0.1:{SSH}"}}
  brief: {{type: socks5, server: "{V4.gateway}:{BRIEF}", username: {USER}, password_file: good}}
"""
RULES = rules(
    *(f"{sixteen(family, host)} -> {name}" for family in FAMILIES for name, host in HOSTS.items()),
    *(f"{family.far(host)} -> system" for family in FAMILIES for host in (FILTERED, ROUTELESS)),
    head=HEAD,
)
FILTER = f"""
table inet proxied {{
    chain out {{
        type filter hook output priority 0
        ip daddr {{ {V4.far(FILTERED)}, {V4.far(FILTERED_TOO)} }} drop
        ip6 daddr {{ {V6.far(FILTERED)}, {V6.far(FILTERED_TOO)} }} drop
    }}
}}
"""


@pytest.fixture(scope="module")
def hosts(bed: Testbed) -> Iterator[Path]:
    """The file that `ip netns exec` has the router see as /etc/hosts, with the name of a proxy."""
    directory = bed.router.configuration
    directory.mkdir(parents=True)
    file = directory / "hosts"
    file.write_text(f"{ELSEWHERE} proxy.example\n", encoding="utf-8")
    yield file
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def router(
    bed: Testbed, udp_servers: None, hosts: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Tunrouter]:
    directory = tmp_path_factory.mktemp("socks")
    for name, text in (("good", PASSWORD), ("bad", "another")):
        (directory / name).write_text(text + "\n", encoding="utf-8")
        (directory / name).chmod(0o600)
    bed.gw.run("nft", "-f", "-", stdin=FILTER)
    bed.gw.ip(
        *(f"route add unreachable {each.far(ROUTELESS)}/{each.host_bits}" for each in FAMILIES)
    )
    with ExitStack() as stack:
        stack.enter_context(proxies.dante(bed.gw, directory))
        stack.enter_context(proxies.microsocks(bed.gw))
        stack.enter_context(proxies.scripted(bed.gw))
        stack.enter_context(proxies.ssh(bed.router, bed.gw, directory))
        yield stack.enter_context(running(bed.router, directory, RULES))
    bed.gw.ip(
        *(f"route del unreachable {each.far(ROUTELESS)}/{each.host_bits}" for each in FAMILIES)
    )
    bed.gw.run("nft", "delete", "table", "inet", "proxied")


def converse(bed: Testbed, family: Family, host: int) -> None:
    """The far host speaks first, then the client, and both end; the client first where the proxy
    passes on that one end has ended (microsocks does not)."""
    text = b"hello" * 40_000
    with sockets.listener(bed.far) as listener:
        port = sockets.port_of(listener)
        greeted = b"220 far host\r\n"

        def serve() -> None:
            accepted, _ = listener.accept()
            with accepted:
                accepted.sendall(greeted)
                accepted.sendall(accepted.recv(len(text), socket.MSG_WAITALL).upper())
                if host not in HALVES_TOGETHER:
                    assert accepted.recv(1) == b""

        with (
            alongside(serve),
            sockets.connected(bed.client, family, family.far(host), port) as client,
        ):
            assert client.recv(len(greeted), socket.MSG_WAITALL) == greeted
            client.sendall(text)
            if host not in HALVES_TOGETHER:
                client.shutdown(socket.SHUT_WR)
            assert sockets.read_to_end(client) == text.upper()


@contextmanager
def another_source(bed: Testbed, router: Tunrouter, family: Family) -> Iterator[None]:
    """The router's machine has another address, which the kernel chooses towards the proxies, and
    the router has noticed that."""
    noticed = router.log.count("policy home: up")
    own, length = {4: ("192.0.2.77", 24), 6: ("2001:db8:2::77", 64)}[family.version]
    address, route = f"{own}/{length} dev eth0", f"{family.gateway} dev eth0"
    at_once = "nodad" if family.version == 6 else ""
    bed.router.ip(f"addr add {address} {at_once}", f"route add {route} src {own}")
    try:
        wait_until(lambda: own in source_towards(bed, family.gateway), "it to be chosen")
        wait_until(lambda: router.log.count("policy home: up") > noticed, "it to be noticed")
        yield
    finally:
        bed.router.ip(f"route del {route}", f"addr del {address}")


def source_towards(bed: Testbed, address: str) -> str:
    return bed.router.run("ip", "route", "get", address).stdout


@pytest.mark.parametrize("name", ["system", "via"])
def test_an_address_that_goes_takes_no_proxy_along(
    bed: Testbed, router: Tunrouter, family: Family, name: str
) -> None:
    """Neither what is open for the next connection, nor the association of a datagram socket."""
    to_proxy = {"system": V4, "via": V6}[name]
    host = HOSTS[name]
    with sockets.datagram(bed.client, family) as sock, sockets.listener(bed.far) as listener:
        with another_source(bed, router, to_proxy):
            port = sockets.port_of(listener)
            for _ in range(2):
                sockets.connected(bed.client, family, family.far(host), port).close()
            sock.connect((family.far(host), ECHO))
            sock.send(b"before")
            assert sock.recv(100) == b"before"
        sock.settimeout(0.2)

        def is_answered() -> bool:
            with suppress(TimeoutError, BlockingIOError):
                sock.send(b"after")
                return sock.recv(100) == b"after"
            return False

        wait_until(is_answered, "an answer", detail=lambda: router.log)
        sockets.connected(bed.client, family, family.far(host), port).close()


def test_a_name_is_resolved_again(bed: Testbed, router: Tunrouter, hosts: Path) -> None:
    """All its addresses are tried."""
    router.wait_until_down("named")
    hosts.write_text(f"{ELSEWHERE} proxy.example\n{V4.gateway} proxy.example\n", encoding="utf-8")
    wait_until(lambda: policies(bed)["named"]["state"] == "up", "the named one to be up")
    converse(bed, V4, NAMED)


def test_a_proxy_that_starts_and_stops(bed: Testbed, router: Tunrouter) -> None:
    router.wait_until_down("brief")
    assert (
        policies(bed)["brief"]["why_down"] == f"proxy {V4.gateway}:{BRIEF}: it refuses connections"
    )
    with proxies.microsocks(bed.gw, BRIEF), sockets.listener(bed.far) as listener:
        wait_until(lambda: policies(bed)["brief"]["state"] == "up", "brief to be up")
        converse(bed, V4, BRIEFLY)
        sockets.connected(bed.client, V4, V4.far(BRIEFLY), sockets.port_of(listener)).close()
    with pytest.raises(ConnectionRefusedError):  # by on_down
        sockets.connected(bed.client, V4, V4.far(BRIEFLY), CLOSED)
    router.wait_until_down("brief")


@pytest.mark.parametrize("name", ["system", "via", "login", "drip", "joined", "ssh", "limited"])
def test_a_conversation_passes(bed: Testbed, router: Tunrouter, family: Family, name: str) -> None:
    converse(bed, family, HOSTS[name])


def read_flows(bed: Testbed, protocol: str, address: str) -> list[dict[str, Any]]:
    shown = bed.router.run(PROGRAM, "flows", "--json", "--protocol", protocol).stdout
    return [flow for flow in json.loads(shown) if flow["destination"] == address]


def test_flows_name_the_proxy_and_not_its_outside(
    bed: Testbed, router: Tunrouter, family: Family
) -> None:
    """What is known is the connection to the proxy: its round trip and its segments."""
    address, text = family.far(SYSTEM + 1), b"proxied" * 1000
    with sockets.listener(bed.far) as listener:
        port = sockets.port_of(listener)
        with sockets.connected(bed.client, family, address, port) as client:
            accepted, _ = listener.accept()
            with accepted:
                client.sendall(text)
                assert accepted.recv(len(text), socket.MSG_WAITALL) == text
                (flow,) = read_flows(bed, "tcp", address)
                source = client.getsockname()[:2]
    assert (flow["source"], flow["source_port"], flow["destination_port"]) == (*source, port)
    assert (flow["policy"], flow["path"], flow["state"]) == ("system", "relayed", "relayed")
    assert (flow["outside"], flow["outside_port"]) == (None, None)
    assert flow["interface"] == "eth0"
    assert flow["bytes_out"] > len(text)
    assert 0 < flow["rtt_ms"] < 10_000
    assert 0 <= flow["segments_resent"] <= flow["segments_out"]
    assert flow["segments_out"] >= 2, "the request to the proxy and the text"
    with sockets.datagram(bed.client, family) as sock:
        sock.connect((address, ECHO))
        sock.send(b"echo")
        assert sock.recv(100) == b"echo"
        (flow,) = read_flows(bed, "udp", address)
        assert (flow["source"], flow["source_port"]) == sock.getsockname()[:2]
    size = (20 if family.version == 4 else 40) + 8 + 4
    counted = flow["packets_out"], flow["bytes_out"], flow["packets_in"], flow["bytes_in"]
    assert counted == (1, size, 1, size)
    assert (flow["policy"], flow["state"], flow["outside"]) == ("system", "answered", None)
    assert "rtt_ms" not in flow


def test_failures_are_those_of_the_destination(
    bed: Testbed, router: Tunrouter, family: Family
) -> None:
    for host, port, expected in (
        (SYSTEM, CLOSED, errno.ECONNREFUSED),
        (VIA, CLOSED, errno.ECONNREFUSED),
        (LOGIN, CLOSED, errno.ECONNREFUSED),
        (ROUTELESS, CLOSED, errno.EHOSTUNREACH),
        (BY_SSH, CLOSED, errno.EHOSTUNREACH),  # it says nothing but that it has not connected
    ):
        with pytest.raises(OSError) as caught:
            sockets.connected(bed.client, family, family.far(host), port)
        assert caught.value.errno == expected, (host, caught.value)
    silent = sockets.stream(bed.client, family)
    silent.settimeout(1.5)
    with pytest.raises(TimeoutError):
        silent.connect((family.far(FILTERED), CLOSED))
    silent.close()


def test_a_filtered_host_is_unreachable_once_the_proxy_gives_up(
    bed: Testbed, router: Tunrouter, family: Family
) -> None:
    """Whose limit counts, not one of the router's; until then nothing is answered."""
    with pytest.raises(OSError) as caught:
        sockets.connected(bed.client, family, family.far(FILTERED_TOO), CLOSED)
    assert caught.value.errno == errno.EHOSTUNREACH


def test_datagrams_pass_both_ways(bed: Testbed, router: Tunrouter, family: Family) -> None:
    for host in (SYSTEM, VIA):
        seen = exchange(bed.client, family.far(host), sends=[5, 1200, 0, 600], sockets=3)
        assert len(seen.found) == 12
        assert "silence" not in seen.found
        query = ("dig", "+short", "+tries=1", f"@{family.far(host)}", "name.example", "A")
        assert bed.client.run(*query).stdout == "192.0.2.53\n"
        assert bed.client.run(*query, "+tcp").stdout == "192.0.2.53\n"


def test_a_proxy_without_udp_refuses_at_once(
    bed: Testbed, router: Tunrouter, family: Family
) -> None:
    sock = sockets.datagram(bed.client, family)
    sock.connect((family.far(LOGIN), ECHO))
    for _ in range(2):  # the first finds out, the second is refused by what was found
        sock.send(b"x")
        with pytest.raises(OSError) as caught:
            sock.recv(100)
        assert caught.value.errno in (errno.EHOSTUNREACH, errno.EACCES), caught.value
    assert "carries no UDP" in router.log


def test_what_is_down_says_why(bed: Testbed, router: Tunrouter) -> None:
    router.wait_until_down("wrong")
    router.wait_until_down("nonsense")
    wait_until(
        lambda: policies(bed)["silent"]["state"] == "down", "the silent one to be down", timeout=20
    )
    why = {name: policy["why_down"] for name, policy in policies(bed).items()}
    assert why["wrong"] == f"proxy {V4.gateway}:{MICROSOCKS}: it refuses the user name or password"
    assert why["nonsense"] == f"proxy {V4.gateway}:{GARBAGE}: it does not speak SOCKS5"
    assert why["excess"] is None, "what it said to the probe was a login"
    with pytest.raises(ConnectionRefusedError):
        sockets.connected(bed.client, V4, V4.far(TALKATIVE), CLOSED)
    fault = f"excess: down, proxy {V4.gateway}:{EXCESS}: it does not speak SOCKS5"
    wait_until(lambda: fault in router.log, "the fault in the log")
    assert why["silent"] == f"proxy {V4.gateway}:{NEVER}: no answer"
    assert why["system"] is None
    assert PASSWORD not in router.log + json.dumps(why)
    converse(bed, V4, NONSENSE)  # by its on_down
    with pytest.raises(ConnectionRefusedError):
        sockets.connected(bed.client, V4, V4.far(WRONG), CLOSED)


def test_a_family_that_a_proxy_refuses(bed: Testbed, router: Tunrouter) -> None:
    """It is remembered, logged once, and reported by `check`; the other family passes."""
    for _ in range(2):
        with pytest.raises(OSError) as caught:
            sockets.connected(bed.client, V6, V6.far(BY_V4_ONLY), CLOSED)
        assert caught.value.errno == errno.ENETUNREACH
    converse(bed, V4, BY_V4_ONLY)
    clause = "refuses IPv6 destinations"
    assert policies(bed)["v4_only"]["found"] == [clause]
    assert router.log.count(clause) == 1
    command = (PROGRAM, "check", "-c", str(router.rules_file), "--format", "json")
    problems = json.loads(bed.router.run(*command).stdout)["problems"]
    (refused,) = [each for each in problems if each["code"] == "proxy-refuses-ipv6"]
    assert f"the proxy {V4.gateway}:{V4_ONLY} has refused IPv6" in refused["message"]


def test_icmp_gets_its_own_policy(bed: Testbed, router: Tunrouter, family: Family) -> None:
    ping = ("ping", "-c1", "-W2", "-n")
    assert "Packet filtered" in prohibited(bed.client.run(*ping, family.far(SYSTEM), check=False))
    bed.client.run(*ping, family.far(VIA))


def prohibited(done: object) -> str:
    text = str(done)
    return text.replace("Administratively prohibited", "Packet filtered")


@pytest.mark.parametrize("name", ["system", "login", "ssh"])
def test_many_connections_at_once(bed: Testbed, router: Tunrouter, name: str) -> None:
    """By dante, microsocks and ssh; none of them costs the router a thread."""
    with sockets.listener(bed.far) as listener, ExitStack() as stack:
        port = sockets.port_of(listener)
        clients = []
        for _ in range(MANY):
            client = stack.enter_context(sockets.stream(bed.client, V4))
            client.setblocking(False)
            client.connect_ex((V4.far(HOSTS[name]), port))
            clients.append(client)
        for number in range(MANY):
            accepted, _ = listener.accept()
            stack.enter_context(accepted)
            accepted.sendall(b"+")
            if number == 0:
                assert threads_of(router) == 1
        for client in clients:
            client.settimeout(30)
            assert client.recv(1) == b"+"


def threads_of(router: Tunrouter) -> int:
    return len(list(Path(f"/proc/{router.pid}/task").iterdir()))


def test_a_policy_that_becomes_another_ends_what_it_carried(
    bed: Testbed, router: Tunrouter
) -> None:
    """And nothing else."""
    with sockets.listener(bed.far) as listener:
        port = sockets.port_of(listener)
        lost = sockets.connected(bed.client, V4, V4.far(DRIPPING), port)
        kept = sockets.connected(bed.client, V4, V4.far(LOGIN), port)
        with lost, kept:
            accepted = [listener.accept()[0] for _ in range(2)]
            direct = "drip: {type: direct, interface: eth0}"
            router.reload(
                RULES.replace(f'drip: {{type: socks5, server: "{V4.gateway}:{DRIP}"}}', direct)
            )
            with pytest.raises(ConnectionResetError):
                lost.recv(1)
            for each in accepted:
                with each, suppress(OSError):
                    each.sendall(b"still there")
            assert kept.recv(100) == b"still there"
        sockets.connected(bed.client, V4, V4.far(DRIPPING), port).close()
        router.reload(RULES)


def test_a_reload_is_for_new_connections(bed: Testbed, router: Tunrouter) -> None:
    with sockets.listener(bed.far) as listener:
        port = sockets.port_of(listener)
        with sockets.connected(bed.client, V4, V4.far(LOGIN), port) as client:
            accepted, _ = listener.accept()
            with accepted:
                assert "reloaded" in router.reload(RULES.replace("file: good", "file: bad"))
                client.sendall(b"still there")
                assert accepted.recv(100) == b"still there"
        with pytest.raises(ConnectionRefusedError):
            sockets.connected(bed.client, V4, V4.far(LOGIN), port)
        router.reload(RULES)
        sockets.connected(bed.client, V4, V4.far(LOGIN), port).close()


def policies(bed: Testbed) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = read_status(bed.router)["policies"]
    return found
