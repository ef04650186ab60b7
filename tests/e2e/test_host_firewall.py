"""A host firewall that lets in only what belongs to connections of its own, and the LAN's TCP.

Segments of a relayed connection come in by the TUN, to a listener of the router: for the firewall a
new connection. It needs one rule more, which the router names; until then a connection is refused,
not left without an answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import sockets
from tests.e2e.tcp_bed import BARE, HOME, RULES, conversation, result_of
from tests.e2e.testbed import Family, Testbed
from tests.e2e.tunrouter import running
from tests.e2e.wait import wait_until

FIREWALL = """
table inet host {
    chain input {
        type filter hook input priority 0; policy drop
        iif lo accept
        ct state established,related accept
        icmpv6 type {nd-neighbor-solicit, nd-neighbor-advert} accept
    }
    chain output {
        type filter hook output priority 0; policy drop
        oif lo accept
        ct state established,related accept
        oifname {tun11, eth0} accept
        icmpv6 type {nd-neighbor-solicit, nd-neighbor-advert} accept
    }
}
"""
RULE = re.compile(r"as by this rule of nftables: (.*)$", re.MULTILINE)
REFUSED = {4: "OSError", 6: "PermissionError"}
"""Administratively prohibited: EHOSTUNREACH, EACCES."""


@pytest.fixture
def firewall(bed: Testbed) -> Iterator[None]:
    bed.router.run("nft", "-f", "-", stdin=FIREWALL)
    yield
    bed.router.run("nft", "delete", "table", "inet", "host")


@pytest.mark.usefixtures("firewall")
def test_connections_of_the_lan_are_refused_until_the_rule_is_there(
    bed: Testbed, family: Family, tmp_path: Path
) -> None:
    with running(bed.router, tmp_path, RULES) as router, sockets.listener(bed.far) as listener:
        with conversation(bed, family, BARE):
            pass
        port = sockets.port_of(listener)
        outcome = result_of(lambda: sockets.connected(bed.client, family, family.far(HOME), port))
        assert outcome == REFUSED[family.version]
        wait_until(lambda: RULE.findall(router.log), "the remedy", detail=lambda: router.log)
        [rule] = RULE.findall(router.log)
        bed.router.run("nft", "add", "rule", "inet", "host", "input", *rule.split())
        with conversation(bed, family, HOME) as pair:
            pair.client.sendall(b"question")
            assert pair.server.recv(100) == b"question"
        assert router.stop().counters["refused-by-host"] == 1
