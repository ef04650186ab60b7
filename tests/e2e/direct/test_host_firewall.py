"""The host's own firewall judges what leaves directly, and lets in the answers."""

from __future__ import annotations

import errno
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from tests.e2e import ping, probes, sockets
from tests.e2e.capture import Capture
from tests.e2e.direct.ends import PATHS, SOURCE, connection, datagrams, is_direct
from tests.e2e.direct.sent_bytes import SentBytes
from tests.e2e.direct.uploads import (
    SOME,
    upload,
    upload_of_datagrams,
    upload_some,
    wait_for_more,
    wait_until_forwarded,
)
from tests.e2e.tcp_bed import Pair, alongside
from tests.e2e.testbed import WIREGUARD_PORT, Family, Testbed
from tests.e2e.tunrouter import TUN
from tests.e2e.udp import CLOSED, ECHO, HOME, OFFICE, RULES, exchange
from tests.e2e.wait import wait_until

pytestmark = [pytest.mark.rules(RULES), pytest.mark.usefixtures("direct")]

STRICT = f"""
table inet direct_test {{
    chain input {{
        type filter hook input priority 0; policy drop;
        iifname lo accept
        ct state established,related accept
        icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert }} accept
    }}
    chain output {{
        type filter hook output priority 0; policy drop;
        ct state established,related accept
        oifname {{ lo, eth0, wg0, {TUN} }} accept
    }}
}}
"""
IPTABLES = """
*filter
:INPUT DROP
-A INPUT -i lo -j ACCEPT
-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
COMMIT
"""
"""Of iptables-nft, for both families; neighbours are let in besides."""
NEIGHBOURS = "-A INPUT -p ipv6-icmp --icmpv6-type {} -j ACCEPT\n"
INVALID = """
table inet direct_test {
    chain input {
        type filter hook input priority 0
        ct state invalid counter drop
    }
    chain output {
        type filter hook output priority 0
        ct state invalid drop
    }
}
"""
"""Counted where it comes in: what counts on the way out is relayed. What refuses on the way out
leaves packets to the router's sockets."""
INVALID_IN = """
table inet direct_test {
    chain input {
        type filter hook input priority 0
        ct state invalid counter drop
    }
}
"""
"""Packets may be forwarded by the kernel besides."""
OUTPUT = """
table inet direct_test {
    chain output {
        type filter hook output priority 0
    }
}
"""
AT_ONCE_S = 0.25
KILL_SWITCH = f"""
table inet direct_test {{
    chain output {{
        type filter hook output priority 0; policy drop;
        oifname {{ lo, wg0, {TUN} }} accept
        udp dport {WIREGUARD_PORT} accept
        icmpv6 type {{ nd-neighbor-solicit, nd-neighbor-advert }} accept
    }}
}}
"""
"""Only the VPN may be used."""
SOME_DATAGRAMS = 1 << 20
"""Bytes."""
REFUSED = {4: "EHOSTUNREACH", 6: "EACCES"}
PROHIBITED = {errno.EPERM, errno.EACCES, errno.EHOSTUNREACH}


@contextmanager
def iptables(bed: Testbed) -> Iterator[None]:
    discovery = "".join(NEIGHBOURS.format(kind) for kind in ("135", "136"))
    for program, more in (("iptables", ""), ("ip6tables", discovery)):
        rules = IPTABLES.replace("COMMIT", f"{more}COMMIT")
        bed.router.run(f"{program}-nft-restore", stdin=rules)
    try:
        yield
    finally:
        for family in ("ip", "ip6"):
            bed.router.run("nft", "delete", "table", family, "filter")


@contextmanager
def firewall(bed: Testbed, text: str) -> Iterator[None]:
    bed.router.run("nft", "-f", "-", stdin=text)
    try:
        yield
    finally:
        bed.router.run("nft", "delete", "table", "inet", "direct_test")


def invalid_packets(bed: Testbed) -> int:
    found = json.loads(bed.router.run("nft", "-j", "list", "table", "inet", "direct_test").stdout)
    return sum(
        int(each["counter"]["packets"])
        for entry in found["nftables"]
        for each in entry.get("rule", {}).get("expr", [])
        if "counter" in each
    )


def called_invalid(bed: Testbed) -> int:
    """How many packets connection tracking has called invalid, of those that have gone into the
    TUN, out by an outbound's interface, and in. Of ICMP errors it counts none."""
    names, *processors = bed.router.run("cat", "/proc/net/stat/nf_conntrack").stdout.splitlines()
    column = names.split().index("invalid")
    return sum(int(line.split()[column], 16) for line in processors)


def have_ended(bed: Testbed) -> bool:
    """Whether the connections of earlier tests are over, so that nothing of them is to come: what
    has begun untracked is invalid when it is tracked at its end, on either path."""
    states = ("state", "connected", "exclude", "time-wait")
    return not any(each.run("ss", "-Htan", *states).stdout for each in (bed.router, bed.far))


@pytest.mark.parametrize("text", [STRICT, INVALID, IPTABLES], ids=["strict", "invalid", "iptables"])
@PATHS
def test_all_is_as_without(
    bed: Testbed, family: Family, text: str, through: int, bare: int
) -> None:
    wait_until(partial(have_ended, bed), "the connections of earlier tests to be over")
    before = called_invalid(bed)
    with iptables(bed) if text is IPTABLES else firewall(bed, text):
        assert is_direct(bed, family, family.far(through))
        for host in (through, bare):
            address = family.far(host)
            assert ping.answered(bed.router, address, count=1).received == 1
            (echoed,) = exchange(bed.router, address, ECHO, sends=[1000]).found
            assert echoed["length"] == 1000
            assert exchange(bed.router, address, CLOSED).found == ["ECONNREFUSED"]
            assert probes.tcp(bed.router, address, CLOSED) == "ECONNREFUSED"
            for is_server in (False, True):
                with connection(bed, family, address) as pair:
                    first, other = pair.server, pair.client
                    if not is_server:
                        first, other = other, first
                    first.sendall(bytes(100_000))
                    first.shutdown(socket.SHUT_WR)
                    assert len(sockets.read_to_end(other)) == 100_000
                    other.sendall(b"after the end")
                    assert first.recv(100) == b"after the end"
            with connection(bed, family, address) as pair:
                sockets.reset(pair.client)
                with pytest.raises(ConnectionResetError):
                    pair.server.recv(1)
        if text is INVALID:
            assert invalid_packets(bed) == 0
        assert called_invalid(bed) == before


@PATHS
def test_what_is_forwarded_stays_tracked(
    bed: Testbed, family: Family, through: int, bare: int
) -> None:
    """Of it connection tracking sees plain segments once, on their way into the TUN, and those that
    begin and end a connection twice."""
    wait_until(partial(have_ended, bed), "the connections of earlier tests to be over")
    before = called_invalid(bed)
    with firewall(bed, INVALID_IN):
        for host in (through, bare):
            address = family.far(host)
            for end in (_close_half_by_half, _reset_by_client, _reset_by_server):
                with connection(bed, family, address) as pair:
                    if host == through:
                        wait_until_forwarded(bed, pair)
                    upload_some(pair)
                    end(pair)
            with upload(bed, family, address) as running:
                running.wait_for_more(SOME)
            wait_until(partial(have_ended, bed), "an upload that is reset to be over")
        assert invalid_packets(bed) == 0
        assert called_invalid(bed) == before


def _close_half_by_half(pair: Pair) -> None:
    pair.client.shutdown(socket.SHUT_WR)
    assert sockets.read_to_end(pair.server) == b""
    with alongside(partial(pair.server.sendall, bytes(SOME))):
        sockets.read(pair.client, SOME)


def _reset_by_client(pair: Pair) -> None:
    sockets.reset(pair.client)
    with pytest.raises(ConnectionResetError):
        pair.server.recv(1)


def _reset_by_server(pair: Pair) -> None:
    sockets.reset(pair.server)
    with pytest.raises(ConnectionResetError):
        pair.client.recv(1)


@PATHS
def test_a_half_closed_connection_is_tracked_as_long(
    bed: Testbed, family: Family, through: int, bare: int
) -> None:
    """Connection tracking sees its first end twice, by the TUN and by the outbound."""
    with firewall(bed, STRICT):
        kept = []
        for host in (through, bare):
            with connection(bed, family, family.far(host)) as pair:
                pair.client.sendall(b"question")
                pair.client.shutdown(socket.SHUT_WR)
                assert sockets.read_to_end(pair.server) == b"question"
                tracked = wait_until(
                    partial(_acknowledged, bed, pair.client.getsockname()[1]), "the acknowledgment"
                )
                kept.append(tracked)
                pair.server.sendall(b"late")
                assert pair.client.recv(100) == b"late"
    assert kept[0] >= kept[1]


def _acknowledged(bed: Testbed, port: int) -> int:
    """The seconds for which a connection stays tracked; 0 until its end was acknowledged."""
    listed = bed.router.run("cat", "/proc/net/nf_conntrack").stdout
    found = re.search(rf" (\d+) (?:CLOSE_WAIT|TIME_WAIT) .*? sport={port} ", listed)
    return int(found[1]) if found else 0


@PATHS
def test_a_rule_stops_an_upload_at_once(
    bed: Testbed, family: Family, by_sockets: bool, through: int, bare: int
) -> None:
    """Data of which a part has arrived, and arrives to its end when the rule is gone.

    Within AT_ONCE_S, but that the router may be kept waiting on a busy machine: then no more leaves
    than in such a time before.
    """
    address = family.far(through)
    protocol = "ip" if family.version == 4 else "ip6"
    with (
        firewall(bed, OUTPUT),
        upload(bed, family, address) as running,
        SentBytes(bed.router, SOURCE[through]) as sent,
    ):
        wait_for_more(bed, running, by_sockets)
        wait_until(lambda: sent.seconds > 2 * AT_ONCE_S, "some time of the upload")
        rule = f"oifname {{ eth0, wg0 }} {protocol} daddr {address} drop"
        bed.router.run("nft", "add", "rule", "inet", "direct_test", "output", *rule.split())
        laid = time.monotonic()
        wait_until(running.is_silent, "the upload to stand still")
        took, more = sent.since(laid)
        most = sent.most_within(AT_ONCE_S, laid)
        assert took < AT_ONCE_S or more < most, f"{took:.3f} s, {more} bytes of at most {most}"
        assert _refusal(bed, family, address) in PROHIBITED
        bed.router.run("nft", "flush", "chain", "inet", "direct_test", "output")
        running.wait_for_more(SOME)


@PATHS
def test_a_rule_stops_datagrams_at_once(
    bed: Testbed, family: Family, through: int, bare: int
) -> None:
    """Those that leave in frames for the system to cut, as on the bare path.

    How many of them leave raw is tested by tests/unit/engine/direct/test_runs.py.
    """
    protocol = "ip" if family.version == 4 else "ip6"
    for host in (through, bare):
        address = family.far(host)
        with firewall(bed, OUTPUT), upload_of_datagrams(bed, family, address) as running:
            running.wait_for_more(SOME_DATAGRAMS)
            rule = f"oifname {{ eth0, wg0 }} {protocol} daddr {address} drop"
            bed.router.run("nft", "add", "rule", "inet", "direct_test", "output", *rule.split())
            wait_until(running.is_silent, "the datagrams to stop")
            bed.router.run("nft", "flush", "chain", "inet", "direct_test", "output")
            running.wait_for_more(SOME_DATAGRAMS)


def test_nothing_passes_a_kill_switch(bed: Testbed, family: Family, by_sockets: bool) -> None:
    """Neither of what moves much already, which goes on afterwards, nor of what begins. That is
    told by ICMP errors, whose rate is limited: datagrams that are refused have their share."""
    address = family.far(HOME)
    with (
        upload(bed, family, address) as stream,
        upload_of_datagrams(bed, family, address) as datagrams,
    ):
        wait_for_more(bed, stream, by_sockets)
        datagrams.wait_for_more(SOME_DATAGRAMS)
        with firewall(bed, KILL_SWITCH):
            wait_until(lambda: stream.is_silent() and datagrams.is_silent(), "silence")
            with Capture(bed.far, f"dst host {address}") as far:
                for probe in (probes.tcp, probes.udp):
                    tries = partial(probe, bed.router, address, patience=1.0)
                    wait_until(partial(_ends_in, REFUSED[family.version], tries), "a refusal")
                refuses_pings = partial(ping.unanswered, bed.router, address, count=1)
                wait_until(lambda: refuses_pings().prohibited, "a refused ping")
                assert is_direct(bed, family, family.far(OFFICE))
                assert not far.packets()
        stream.wait_for_more(SOME)
        datagrams.wait_for_more(SOME_DATAGRAMS)


def _ends_in(wanted: str, tries: Callable[[], str]) -> bool:
    return tries() == wanted


def _refusal(bed: Testbed, family: Family, address: str) -> int | None:
    """The error of a connected UDP socket that sends, told by an ICMP error."""
    with datagrams(bed, family, address) as pair:
        try:
            pair.client.send(b"refused")
            pair.client.recv(100)
        except OSError as error:
            return error.errno
    return None
