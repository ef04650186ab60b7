"""Rules of the host that refuse a mark or priority that a program sets (SO_MARK, SO_PRIORITY): they
see it by the TUN, not by the outbound's interface, where the router sends.

So a rule about the outbound's interface alone lets through what the bare path refuses: that is
reported, with the remedy. Nothing is reported for a rule that refuses what has no mark, as kill
switches do, nor where the host sets marks itself.
"""

from __future__ import annotations

import errno
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.e2e import sockets
from tests.e2e.direct.test_owners import laid
from tests.e2e.testbed import FAMILIES, Family, Testbed
from tests.e2e.tunrouter import PROGRAM, TUN, Tunrouter
from tests.e2e.udp import BARE, ECHO, HOME, RULES
from tests.e2e.wait import BOUND_S, wait_until

pytestmark = [pytest.mark.rules(RULES), pytest.mark.usefixtures("udp_servers")]

SO_PRIORITY, SO_MARK = 12, 36
VALUE = 7
REFUSALS = pytest.mark.parametrize(
    ("option", "rule"),
    [(SO_MARK, f"meta mark {VALUE} drop"), (SO_PRIORITY, f"meta priority 0:{VALUE} drop")],
    ids=["mark", "priority"],
)


def outcomes(bed: Testbed, family: Family, option: int) -> list[str]:
    """Of a datagram by the router and of one by the bare path."""
    return [_outcome(bed, family, family.far(host), option) for host in (HOME, BARE)]


def _outcome(bed: Testbed, family: Family, address: str, option: int) -> str:
    with sockets.datagram(bed.router, family) as sock:
        sock.settimeout(BOUND_S)
        sock.setsockopt(socket.SOL_SOCKET, option, VALUE)
        try:
            sock.sendto(b"probe", (address, ECHO))
            sock.recv(100)
        except OSError as error:
            return errno.errorcode[error.errno or 0]
    return "answered"


def reported(bed: Testbed, router: Tunrouter) -> list[Any]:
    """By check."""
    command = (PROGRAM, "check", "-c", str(router.rules_file), "--format", "json")
    problems = json.loads(bed.router.run(*command).stdout)["problems"]
    return [each for each in problems if each["code"] == "mark-check"]


@REFUSALS
def test_a_rule_for_the_outbound_alone(
    bed: Testbed, router: Tunrouter, option: int, rule: str
) -> None:
    with laid(bed, f'oifname "eth0" {rule}'):
        for family in FAMILIES:
            assert outcomes(bed, family, option) == ["answered", "EPERM"]
        (problem,) = reported(bed, router)
        assert problem["severity"] == "warning"
        wait_until(lambda: "refuses what has a mark" in router.log, "a warning")
        assert problem["help"] in router.log


@pytest.mark.parametrize(
    "remedy",
    [
        ["{}"],
        ['oifname {{ "eth0", "' + TUN + '" }} {}'],
        ['oifname "eth0" {}', f'oifname "{TUN}" {{}}'],
    ],
    ids=["all interfaces", "a set", "a rule of its own"],
)
@REFUSALS
def test_a_rule_for_the_tun_too(
    bed: Testbed, router: Tunrouter, option: int, rule: str, remedy: list[str]
) -> None:
    with laid(bed, *(each.format(rule) for each in remedy)):
        for family in FAMILIES:
            assert outcomes(bed, family, option) == ["EPERM", "EPERM"]
        assert reported(bed, router) == []


# Hosts whose rules read marks that no program sets

WG_QUICK = """
table ip wg-quick-wg0 {
    chain preraw {
        type filter hook prerouting priority raw; policy accept;
        iifname != "wg0" ip daddr 10.8.0.2 fib saddr type != local drop
    }
    chain premangle {
        type filter hook prerouting priority mangle; policy accept;
        meta l4proto udp meta mark set ct mark
    }
    chain postmangle {
        type filter hook postrouting priority mangle; policy accept;
        meta l4proto udp meta mark 0xca6c ct mark set meta mark
    }
}
"""
KILL_SWITCH = """
table inet killswitch {
    chain output {
        type filter hook output priority 0; policy accept;
        oifname "eth0" meta mark != 0xca6c fib daddr type != local reject
    }
}
"""
DROPPING_KILL_SWITCH = """
table inet killswitch {
    chain output {
        type filter hook output priority 0; policy drop;
        oifname { "lo", "wg0" } accept
        oifname "eth0" meta mark 0xca6c accept
        oifname "eth0" ip daddr 192.168.0.0/16 accept
    }
}
"""
WG_QUICK_POST_UP = """
*filter
-I OUTPUT ! -o wg0 -m mark ! --mark 51820 -m addrtype ! --dst-type LOCAL -j REJECT
COMMIT
"""
NORD_VPN = """
*mangle
-A POSTROUTING -o eth0 -m mark --mark 0xe1f1 -j CONNMARK --save-mark
COMMIT
*filter
-A OUTPUT -o lo -j ACCEPT
-A OUTPUT -o eth0 -m connmark --mark 0xe1f1 -j ACCEPT
-A OUTPUT -o eth0 -m mark --mark 0xe1f1 -j ACCEPT
-A OUTPUT -o eth0 -j DROP
COMMIT
"""
MULLVAD = """
table inet mullvad {
    chain output {
        type filter hook output priority filter; policy drop;
        oif "lo" accept
        ct mark 0x00000f41 accept
        udp dport 53 ip daddr 192.0.2.1 reject
        ip daddr 192.0.2.9 udp dport 51820 meta mark 0x6d6f6c65 accept
        oifname "wg0-mullvad" accept
        reject
    }
    chain mangle {
        type route hook output priority mangle; policy accept;
        meta cgroup 5087041 ct mark set 0x00000f41 meta mark set 0x6d6f6c65
    }
}
"""
KUBE_PROXY = """
*nat
:KUBE-MARK-MASQ - [0:0]
:KUBE-POSTROUTING - [0:0]
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --xor-mark 0x4000
-A KUBE-POSTROUTING -j MASQUERADE --random-fully
COMMIT
*filter
:KUBE-FIREWALL - [0:0]
-A OUTPUT -j KUBE-FIREWALL
-A KUBE-FIREWALL -m mark --mark 0x8000/0x8000 -j DROP
COMMIT
"""
CALICO = """
*filter
:cali-OUTPUT - [0:0]
:cali-to-host-endpoint - [0:0]
:cali-th-eth0 - [0:0]
-A OUTPUT -j cali-OUTPUT
-A cali-OUTPUT -m mark --mark 0x10000/0x10000 -j ACCEPT
-A cali-OUTPUT -o cali+ -j RETURN
-A cali-OUTPUT -j MARK --set-xmark 0x0/0xf0000
-A cali-OUTPUT -m conntrack ! --ctstate DNAT -j cali-to-host-endpoint
-A cali-to-host-endpoint -o eth0 -g cali-th-eth0
-A cali-th-eth0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A cali-th-eth0 -j MARK --set-xmark 0x0/0x10000
-A cali-th-eth0 -j MARK --set-xmark 0x0/0x20000
-A cali-th-eth0 -m mark --mark 0x0/0x20000 -j DROP
-A cali-th-eth0 -m mark --mark 0x20000/0x20000 -j DROP
COMMIT
"""
TAILSCALE = """
*filter
:ts-forward - [0:0]
-A FORWARD -j ts-forward
-A ts-forward -i tailscale0 -j MARK --set-xmark 0x40000/0xff0000
-A ts-forward -m mark --mark 0x40000/0xff0000 -j ACCEPT
-A ts-forward -s 100.64.0.0/10 -o tailscale0 -j DROP
COMMIT
*nat
:ts-postrouting - [0:0]
-A POSTROUTING -j ts-postrouting
-A ts-postrouting -m mark --mark 0x40000/0xff0000 -j MASQUERADE
COMMIT
"""


@contextmanager
def ruleset(bed: Testbed, text: str) -> Iterator[None]:
    program = ("iptables-nft-restore",) if "COMMIT" in text else ("nft", "-f", "-")
    bed.router.run(*program, stdin=text)
    try:
        yield
    finally:
        bed.router.run("nft", "flush", "ruleset")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(WG_QUICK, id="wg-quick"),
        pytest.param(WG_QUICK_POST_UP, id="the kill switch of wg-quick's manual"),
        pytest.param(KILL_SWITCH, id="a kill switch"),
        pytest.param(DROPPING_KILL_SWITCH, id="a kill switch by policy drop"),
        pytest.param(NORD_VPN, id="NordVPN"),
        pytest.param(MULLVAD, id="Mullvad"),
        pytest.param(KUBE_PROXY, id="kube-proxy"),
        pytest.param(CALICO, id="Calico"),
        pytest.param(TAILSCALE, id="Tailscale"),
    ],
)
def test_an_ordinary_host(bed: Testbed, router: Tunrouter, text: str) -> None:
    with ruleset(bed, text):
        assert reported(bed, router) == []
