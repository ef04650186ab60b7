"""`tunrouter explain --pcap` of files that scapy has written, and of files that are none."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from itertools import count
from pathlib import Path
from struct import pack
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoReply, IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.utils import PcapNgWriter, wrpcap

from router.cli import main
from router.wire import pcapng as pcapng_of

RULES = """\
version: 1
policies:
  home: {type: direct, interface: eth99}
rules:
  - {cidr: 198.51.100.0/24, protocol: tcp, port: 443, policy: home}
  - {cidr: 198.51.100.0/24, policy: reject}
  - {cidr: "2001:db8::/32", policy: drop}
"""
CLIENT, SERVER = "10.1.0.2", "198.51.100.1"
PACKETS = [
    IP(src=SERVER, dst=CLIENT) / TCP(sport=443, dport=4000, flags="SA"),
    IP(src=CLIENT, dst=SERVER) / TCP(sport=4000, dport=443, flags="A") / b"question",
    IP(src=CLIENT, dst=SERVER) / UDP(sport=4001, dport=443) / b"datagram",
    IP(src=SERVER, dst=CLIENT) / UDP(sport=443, dport=4001) / b"answer",
    IP(src=CLIENT, dst=SERVER) / ICMP(id=7),
    IPv6(src="2001:db8::1", dst="fd00::2") / ICMPv6EchoReply(id=8),
]
EXPECTED = [
    ("tcp", CLIENT, 4000, SERVER, 443, 2, 1, "home"),
    ("udp", CLIENT, 4001, SERVER, 443, 2, 2, "reject"),
    ("icmp", CLIENT, 7, SERVER, 7, 1, 2, "reject"),
    ("icmp", "fd00::2", 8, "2001:db8::1", 8, 1, 3, "drop"),
]


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    file = tmp_path / "rules.yaml"
    file.write_text(RULES)
    return file


def written(tmp_path: Path, kind: str) -> Path:
    file = tmp_path / f"packets.{kind}"
    framed: list[Any] = [Ether() / each for each in PACKETS]
    framed.insert(2, Ether() / ARP())
    if kind == "pcap":
        wrpcap(str(file), framed)
        return file
    with PcapNgWriter(str(file)) as writer:
        writer.write(PACKETS if kind == "raw.pcapng" else framed)
    return file


@pytest.mark.parametrize("kind", ["pcap", "pcapng", "raw.pcapng"])
def test_each_conversation(
    tmp_path: Path, rules: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, kind)
    assert main(["explain", "--pcap", str(file), "-c", str(rules), "--json"]) == 0
    captured = capsys.readouterr()
    found = [
        (
            *(talk["protocol"], talk["source"], talk["source_port"], talk["destination"]),
            *(talk["destination_port"], talk["packets"], each["rule"]["index"], each["policy"]),
        )
        for each in json.loads(captured.out)
        for talk in (each["conversation"],)
    ]
    assert found == EXPECTED
    assert all(
        each["destination"] == each["conversation"]["destination"]
        for each in json.loads(captured.out)
    )
    assert ("1 packets are not IP" in captured.err) == (kind != "raw.pcapng")


def test_as_text(tmp_path: Path, rules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, "pcap")
    assert main(["explain", "--pcap", str(file), "-c", str(rules)]) == 0
    first = capsys.readouterr().out.split("\n\n")[0].splitlines()
    assert first[0] == f"tcp {CLIENT}:4000 -> {SERVER}:443: 2 packets, 88 bytes"
    assert first[1].startswith("  rule     1, ")


@pytest.mark.parametrize(
    ("data", "fragment"),
    [
        (b"", "is no pcap or pcapng file, or it is damaged"),
        (b"version: 1\n" * 10, "is no pcap or pcapng file, or it is damaged"),
        (bytes.fromhex("d4c3b2a102000400000000000000000000000400fd000000"), "has no IP packets"),
        (bytes.fromhex("0a0d0d0a1c0000004d3c2b1a"), "is no pcap or pcapng file"),
    ],
)
def test_files_that_are_none(
    tmp_path: Path, rules: Path, data: bytes, fragment: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_bytes(data)
    status = main(["explain", "--pcap", str(file), "-c", str(rules)])
    captured = capsys.readouterr()
    assert fragment in captured.err + captured.out
    assert status == (0 if captured.out else 2)


def test_damaged_files_raise_nothing(
    tmp_path: Path, rules: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind in ("pcap", "pcapng"):
        whole = written(tmp_path, kind).read_bytes()
        for size in range(0, len(whole), 29):
            file = tmp_path / "cut"
            file.write_bytes(whole[:size] + b"\xff" * (len(whole) - size))
            assert main(["explain", "--pcap", str(file), "-c", str(rules)]) in (0, 2)
            capsys.readouterr()


def pcapng(link_type: int) -> bytes:
    """A file of one packet, of an interface with that type."""
    whole = bytearray(pcapng_of.header("lo0"))
    at = whole.index(pack("<HHI", 101, 0, 0))
    whole[at : at + 2] = pack("<H", link_type)
    data = pack("<I", 2) + bytes(PACKETS[2])
    return bytes(whole) + pcapng_of.packet(1.0, data, len(data), "", is_inbound=True)


def test_the_loopback_interface_of_a_mac(
    tmp_path: Path, rules: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its link type is 0."""
    file = tmp_path / "lo0.pcapng"
    file.write_bytes(pcapng(0))
    assert main(["explain", "--pcap", str(file), "-c", str(rules)]) == 0
    assert capsys.readouterr().out.startswith(f"udp {CLIENT}:4001 -> {SERVER}:443: 1 packet, ")


def hostile_files() -> list[bytes]:
    """Lengths of 4 GB, compressed ones of which the first byte alone is there, and twice
    compressed ones."""
    whole = pcapng(101)
    long_block = whole + pack("<II", 6, 0xFFFFFFFC)
    long_header = whole[:4] + pack("<I", 0xFFFFFFFC) + whole[8:]
    plain = [long_block, long_header]
    return [
        *plain,
        *map(gzip.compress, plain),
        gzip.compress(long_block + bytes(64 << 20)),
        gzip.compress(gzip.compress(whole)),
        gzip.compress(whole)[:10] + b"\xff" * 40,
    ]


@pytest.mark.parametrize("data", hostile_files(), ids=count())
def test_what_a_file_says_of_its_lengths_is_not_believed(
    tmp_path: Path, rules: Path, data: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_bytes(data)
    tracemalloc.start()
    try:
        assert main(["explain", "--pcap", str(file), "-c", str(rules)]) == 2
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "no pcap or pcapng file, or it is damaged" in capsys.readouterr().err
    assert most < 40 << 20


def test_usage(tmp_path: Path, rules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    absent = str(tmp_path / "absent")
    for arguments, fragment in (
        (("--pcap", absent, "192.0.2.1"), "--pcap stands alone"),
        (("--pcap", absent), "absent cannot be read: No such file or directory"),
        (("--pcap", str(tmp_path)), "is not a regular file"),
    ):
        assert main(["explain", *arguments, "-c", str(rules)]) == 2
        assert fragment in capsys.readouterr().err
