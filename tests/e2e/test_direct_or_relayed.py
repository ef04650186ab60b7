"""Which path packets of this machine's programs take: directly wherever nothing of the host sees a
difference, and as told."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from router.platform.linux.only_on_linux import SO_BINDTODEVICE
from tests.e2e import ping, probes, sockets
from tests.e2e.capture import Capture
from tests.e2e.direct.ends import connection, end, is_direct
from tests.e2e.test_route_sources import source
from tests.e2e.testbed import FAMILIES, V4, V6, Family, Testbed
from tests.e2e.tunrouter import HEAD, PROGRAM, TUN, Tunrouter, relayed, rules, running
from tests.e2e.udp import ECHO, exchange, sixteen
from tests.e2e.wait import wait_until

HOME, OFFICE, BARE = 9, 40, 48
SPLIT = rules(
    *(f"{sixteen(family, 0)} -> home" for family in FAMILIES),
    *(f"{family.office_net} -> office" for family in FAMILIES),
)
CONTAINERS = """
table ip tr_host {
    chain postrouting {
        type nat hook postrouting priority 100
        ip saddr 172.17.0.0/16 oifname != "docker0" masquerade
    }
}
"""
COUNTS = """
table inet tr_host {
    chain output {
        type filter hook output priority 0
        oifname "eth0" counter
    }
}
"""
TRANSLATES = """
table inet tr_host {
    chain postrouting {
        type nat hook postrouting priority 100
        oifname "eth0" ip daddr 198.51.100.0/24 snat ip to 192.0.2.200
        oifname "eth0" ip6 daddr 2001:db8:100::/64 snat ip6 to 2001:db8:2::200
    }
}
"""
MASQUERADES = """
table inet tr_host {
    chain postrouting {
        type nat hook postrouting priority 100
        oifname != "lo" masquerade
    }
}
"""
HEADERS = {4: 28, 6: 48}
"""Bytes of IP and UDP."""
TRANSLATED = {4: "192.0.2.200", 6: "2001:db8:2::200"}


@contextmanager
def laid(bed: Testbed, text: str) -> Iterator[None]:
    """Rules of the host, for the length of a with block."""
    family = text.split()[1]
    bed.router.run("nft", "-f", "-", stdin=text)
    try:
        yield
    finally:
        bed.router.run("nft", "delete", "table", family, "tr_host")


def policy(bed: Testbed, name: str) -> dict[str, Any]:
    answer = json.loads(bed.router.run(PROGRAM, "status", "--json").stdout)
    found: dict[str, Any] = answer["policies"][name]
    return found


def wait_for_source(bed: Testbed, router: Tunrouter, family: Family, wanted: str) -> None:
    wait_until(
        lambda: source(bed.router, family, family.far(HOME)) == wanted,
        f"programs to send from {wanted}",
        detail=lambda: router.log,
    )


def wait_until_relayed(bed: Testbed) -> None:
    wait_until(lambda: policy(bed, "home")["path"] == "relayed", "the relayed path")


@pytest.fixture(scope="module")
def started(bed: Testbed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tunrouter]:
    with running(bed.router, tmp_path_factory.mktemp("rules"), SPLIT) as router:
        yield router


@pytest.fixture
def router(bed: Testbed, started: Tunrouter) -> Tunrouter:
    """With the rules SPLIT and the direct path, whatever the test before has had."""
    if started.rules_file.read_text() != SPLIT:
        started.reload(SPLIT)
    for family in FAMILIES:
        wait_for_source(bed, started, family, family.eth0)
    return started


def test_directly_where_nothing_forbids_it(bed: Testbed, router: Tunrouter) -> None:
    with laid(bed, CONTAINERS):
        for family in FAMILIES:
            wait_for_source(bed, router, family, family.eth0)
            assert ping.answered(bed.router, family.far(HOME), count=1).received == 1
        for name in ("home", "office"):
            assert policy(bed, name)["path"] == "direct"
            assert policy(bed, name)["why_relayed"] is None


def test_relayed_as_long_as_a_rule_counts_what_leaves(bed: Testbed, router: Tunrouter) -> None:
    """A rule about one interface leaves the other as it is."""
    with laid(bed, COUNTS):
        for family in FAMILIES:
            wait_for_source(bed, router, family, family.tun)
            assert ping.answered(bed.router, family.far(HOME), count=1).received == 1
            assert source(bed.router, family, family.office(OFFICE)) == family.wg0
        assert policy(bed, "home")["path"] == "relayed"
        assert "counts what leaves" in policy(bed, "home")["why_relayed"]
        assert policy(bed, "office")["path"] == "direct"
    for family in FAMILIES:
        wait_for_source(bed, router, family, family.eth0)
    assert policy(bed, "home")["path"] == "direct"


def test_a_translation_on_the_way_out_applies(
    bed: Testbed, router: Tunrouter, family: Family
) -> None:
    """As it does on the bare path, where there is no router."""
    address = TRANSLATED[family.version]
    length = 24 if family.version == 4 else 64
    bed.router.ip(f"addr add {address}/{length} dev eth0" + " nodad" * (family.version == 6))
    try:
        with laid(bed, TRANSLATES):
            wait_until_relayed(bed)
            wait_for_source(bed, router, family, family.tun)
            with Capture(bed.far) as far:
                assert ping.answered(bed.router, family.far(HOME), count=1).received == 1
                assert far.arrivals(family.far(HOME)) == {("home0", address)}
    finally:
        bed.router.ip(f"addr del {address}/{length} dev eth0")


def test_all_is_masqueraded(bed: Testbed, router: Tunrouter, family: Family) -> None:
    with laid(bed, MASQUERADES):
        wait_until_relayed(bed)
        with Capture(bed.far) as far:
            for host in (HOME, BARE):
                assert ping.answered(bed.router, family.far(host), count=1).received == 1
                assert far.arrivals(family.far(host)) == {("home0", family.eth0)}


def test_another_destination_of_what_leaves(
    bed: Testbed, router: Tunrouter, udp_servers: None, family: Family
) -> None:
    """DNAT in the output chain: the program gets answers from the host that it has asked."""
    protocol = "ip" if family.version == 4 else "ip6"
    rules_of_hosts = "\n".join(
        f"{protocol} daddr {family.far(host)} dnat to {family.far(host + 1)}"
        for host in (HOME, BARE)
    )
    chain = f"type nat hook output priority -100\n{rules_of_hosts}\n"
    with (
        laid(bed, f"table {protocol} tr_host {{ chain output {{ {chain} }}\n }}\n"),
        sockets.listener(bed.far) as listener,
    ):
        wait_until_relayed(bed)
        port = sockets.port_of(listener)
        for host in (HOME, BARE):
            address = family.far(host)
            with sockets.connected(bed.router, family, address, port) as client:
                server, _ = listener.accept()
                with server:
                    assert end(server.getsockname()) == (family.far(host + 1), port)
                    assert end(client.getpeername()) == (address, port)
                    server.sendall(b"answer")
                    assert client.recv(100) == b"answer"
            (echoed,) = exchange(bed.router, address, ECHO, sends=[1000]).found
            assert (echoed["length"], echoed["sender"][0]) == (1000, address)


@pytest.mark.parametrize("limit", ["limit rate 1/hour burst 4 packets", "quota until {} bytes"])
@pytest.mark.parametrize("both", [True, False], ids=["any-interface", "outbound"])
def test_a_limit_counts_both_passes(
    bed: Testbed, router: Tunrouter, udp_servers: None, both: bool, limit: str, family: Family
) -> None:
    """Of packets or of bytes. Unless it names the interface: then it counts as on the bare path."""
    limited = f"meta nfproto ipv{family.version} udp dport {ECHO}"
    interface = 'oifname != "lo"' if both else 'oifname "eth0"'
    four_probes = 4 * (HEADERS[family.version] + len("probe"))
    text = f"""
    table inet tr_host {{
        chain output {{
            type filter hook output priority 0
            {interface} {limited} {limit.format(four_probes)} accept
            {interface} {limited} drop
        }}
    }}
    """
    let_through = []
    for host in (HOME, BARE):
        with laid(bed, text):
            wait_until_relayed(bed)
            found = [probes.udp(bed.router, family.far(host), ECHO) for _ in range(6)]
            let_through.append(found.count("answered"))
    assert let_through == [2 if both else 4, 4]


def test_what_is_bound_to_the_tun_is_relayed(
    bed: Testbed, router: Tunrouter, family: Family
) -> None:
    bound = ping.answered(bed.router, family.far(HOME), "-I", TUN)
    assert bound.received == 3
    assert ping.answered(bed.router, family.far(HOME)).received == 3
    with sockets.listener(bed.far) as listener, sockets.stream(bed.router, family) as client:
        client.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, TUN.encode())
        sockets.connect(client, (family.far(HOME), sockets.port_of(listener)))
        server, peer = listener.accept()
        with server:
            assert client.getsockname()[0] == family.tun
            assert end(peer)[0] == family.eth0
            server.sendall(b"answer")
            assert client.recv(100) == b"answer"


def test_relayed_as_the_policy_says(bed: Testbed, router: Tunrouter) -> None:
    """And as explain says."""
    assert router.reload(relayed(SPLIT)).startswith("reloaded")
    assert policy(bed, "home")["why_relayed"] == "path: relay"
    assert explained_path(bed, router) == "relayed"
    for family in FAMILIES:
        assert source(bed.router, family, family.far(HOME)) == family.tun
        assert ping.answered(bed.router, family.far(HOME), count=1).received == 1
    assert router.reload(SPLIT).startswith("reloaded")
    assert explained_path(bed, router) == "direct"
    for family in FAMILIES:
        wait_for_source(bed, router, family, family.eth0)


def test_ports_of_a_host_by_another_outbound(bed: Testbed, router: Tunrouter) -> None:
    """No source is that of both, so both are relayed; a port by the same one changes nothing."""
    with sockets.listener(bed.far) as listener, sockets.listener(bed.far) as other:
        for policy, path, sources in (
            ("office", "relayed", ("eth0", "wg0")),
            ("home", "direct", ("eth0", "eth0")),
        ):
            ports = "".join(
                f'  - {{cidr: "{family.far(HOME)}", protocol: tcp, '
                f"port: {sockets.port_of(other)}, policy: {policy}}}\n"
                for family in FAMILIES
            )
            text = SPLIT.replace("rules:\n", f"rules:\n{ports}")
            assert router.reload(text).startswith("reloaded")
            for family in FAMILIES:
                own = family.eth0 if path == "direct" else family.tun
                wait_for_source(bed, router, family, own)
                for server, source_of in zip((listener, other), sources, strict=True):
                    port = sockets.port_of(server)
                    with sockets.connected(bed.router, family, family.far(HOME), port) as client:
                        accepted, peer = server.accept()
                        accepted.close()
                        assert end(peer)[0] == getattr(family, source_of)
                        assert client.getsockname()[0] == own


def explained_path(bed: Testbed, router: Tunrouter) -> str:
    command = (PROGRAM, "explain", V4.far(HOME), "-c", str(router.rules_file), "--json")
    found: str = json.loads(bed.router.run(*command).stdout)["path"]
    return found


def test_two_tunnels_with_the_same_address(bed: Testbed, router: Tunrouter) -> None:
    """As those of one provider: the first one stays direct, its connections included; the second
    one is relayed, and says why."""
    head = HEAD.replace("wg0}", "wg0}\n  second: {type: vpn, interface: twin0}")
    text = rules(
        *(f"{family.office_net} -> office" for family in FAMILIES),
        *(f"{family.far(HOME)} -> second" for family in FAMILIES),
        head=head,
    )
    assert router.reload(text).startswith("reloaded")
    with ExitStack() as stack:
        router.wait_until_up("office", V4.wg0, V6.wg0)
        before = [
            stack.enter_context(connection(bed, family, family.office(OFFICE)))
            for family in FAMILIES
        ]
        bed.router.ip("link add twin0 type veth peer name twin1", "link set twin1 up")
        stack.callback(bed.router.ip, "link del twin0")
        bed.router.ip(
            f"addr add {V4.wg0}/32 dev twin0",
            f"addr add {V6.wg0}/128 dev twin0 nodad",
            "link set twin0 up",
        )
        router.wait_until_up("second", V4.wg0, V6.wg0)
        assert policy(bed, "second")["why_relayed"] == f"{V4.wg0} is the address of wg0 as well"
        assert policy(bed, "office")["path"] == "direct"
        for family, pair in zip(FAMILIES, before, strict=True):
            pair.client.sendall(b"goes on")
            assert pair.server.recv(100) == b"goes on"
            assert is_direct(bed, family, family.office(OFFICE))
