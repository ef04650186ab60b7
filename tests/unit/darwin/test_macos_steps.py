"""What is tried on a Mac, as far as it can be tried without one."""

from __future__ import annotations

import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path

import pytest

from router.config.loader import load
from router.wire import icmp, ip
from tests.macos import steps
from tests.macos.far_end import GATEWAY, answer, dns_answer
from tests.macos.state import stable

US, HOST = bytes([10, 98, 0, 1]), ip_address(steps.HOST).packed
ECHO = bytes.fromhex("0800f7fd00010001")
QUERY = bytes.fromhex("1234 0100 0001 0000 0000 0001 07") + b"example\3com\0\0\1\0\1" + b"opt"
NETSTAT = """\
Routing tables

Internet:
Destination        Gateway            Flags               Netif Expire
default            192.168.1.1        UGScg                 en0
192.168.1.1        0:1:2:3:4:5        UHLWIir               en0   1198
198.51.100.7       192.168.1.1        UGHW3I                en0      9
10.99/16           utun12             USc                utun12
"""


def test_a_ping_is_answered() -> None:
    reply = answer(ip.build(US, HOST, ip.ICMP, ECHO))
    assert reply is not None
    parsed = ip.parse(reply)
    assert (parsed.source, parsed.destination) == (HOST, US)
    assert icmp.message_type(parsed) == 0
    assert icmp.has_valid_checksum(parsed)


def test_a_hop_limit_that_is_used_up() -> None:
    reply = answer(ip.build(US, HOST, ip.ICMP, ECHO, hop_limit=1))
    assert reply is not None
    assert (ip.parse(reply).source, icmp.message_type(ip.parse(reply))) == (GATEWAY, 11)


def test_a_question_and_another_datagram() -> None:
    for port, sent, expected in ((53, QUERY, dns_answer(QUERY)), (7, b"hello", b"hello")):
        datagram = bytes([0x30, 0x39, 0, port]) + (8 + len(sent)).to_bytes(2, "big") + bytes(2)
        reply = answer(ip.build(US, HOST, ip.UDP, datagram + sent))
        assert reply is not None
        body = bytes(ip.parse(reply).body)
        assert body[:4] == bytes([0, port, 0x30, 0x39])
        assert body[8:] == expected
        assert int.from_bytes(body[6:8], "big") != 0


def test_an_answer_of_dns_has_the_question_and_the_address() -> None:
    found = dns_answer(QUERY)
    assert found[:2] == b"\x12\x34"
    assert int.from_bytes(found[6:8], "big") == 1, "answers"
    assert found.endswith(bytes([192, 0, 2, 1]))
    assert b"opt" not in found
    assert dns_answer(b"short") == b"short"


@pytest.mark.parametrize("packet", [b"", b"\x45", bytes(40), ip.build(US, HOST, 6, bytes(20))])
def test_nothing_else_is_answered(packet: bytes) -> None:
    assert answer(packet) is None


@pytest.mark.parametrize("proxy", [True, False])
def test_the_rules_are_valid(tmp_path: Path, proxy: bool) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(steps.rules("192.0.2.80", proxy=proxy), encoding="utf-8")
    loaded = load(str(file))
    assert loaded.config is not None
    used = {rule.policy for rule in loaded.config.rules}
    assert used >= {"reply", "drop", "reject", "home", "office"}
    assert ("proxy" in used) == proxy


def test_neighbours_and_clones_are_no_part_of_the_state() -> None:
    assert stable(NETSTAT, routes=True).splitlines() == [
        "Destination Gateway Flags Netif",
        "default 192.168.1.1 UGScg en0",
        "10.99/16 utun12 USc utun12",
    ]
    text = "\tinet6 fd77::1 prefixlen 64 pltime 604800 vltime 2592000\n  reach    : 0x2 (x)"
    assert "604800" not in stable(text, routes=False)


def test_elsewhere_it_says_what_it_needs() -> None:
    if sys.platform == "darwin":
        return
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-m", "tests.macos"], cwd=root, capture_output=True, text=True, check=False
    )
    assert (done.returncode, "this needs a Mac" in done.stderr) == (2, True)
