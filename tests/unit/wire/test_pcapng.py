"""A file byte by byte, and as scapy reads it."""

from __future__ import annotations

import io
from typing import Any

from scapy.utils import RawPcapNgReader

from router.wire import pcapng

GOLDEN = """
0a0d0d0a 1c000000 4d3c2b1a 0100 0000 ffffffffffffffff 1c000000
01000000 24000000 6500 0000 00000000 0200 0500 74756e3131 000000 0000 0000 24000000
06000000 40000000 00000000 240a0600 00401e18 05000000 54000000 4500005400 000000
0100 0700 666f7277617264 00 0200 0400 01000000 0000 0000 40000000
"""


def test_golden() -> None:
    header = pcapng.header("tun11")
    packet = pcapng.packet(1700000000.0, b"\x45\0\0\x54\0", 84, "forward", is_inbound=True)
    assert (header + packet).hex() == "".join(GOLDEN.split())


def test_scapy_reads_it() -> None:
    file = pcapng.header("tun11") + pcapng.packet(
        1700000000.25, b"\x45" + bytes(19), 1500, "drop: größer", is_inbound=False
    )
    reader: Any = RawPcapNgReader
    ((data, meta),) = list(reader(io.BytesIO(file)))
    assert data == b"\x45" + bytes(19)
    assert (meta.linktype, meta.wirelen, meta.ifname) == (101, 1500, b"tun11")
    assert (meta.tshigh << 32 | meta.tslow) == 1_700_000_000_250_000
    comments = meta.comments if hasattr(meta, "comments") else [meta.comment]  # before 2.7
    assert comments == ["drop: größer".encode()]
