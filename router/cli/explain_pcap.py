"""`tunrouter explain --pcap`: the conversations in a file, and what the rules make of each.

A conversation is what passes between two ends by one protocol. It goes from the end that began it:
the sender of a TCP request or of an ICMP query, else of its first packet in the file.

Always true: nothing is sent, no router is asked; what the file has that is not IP is counted.
"""

from __future__ import annotations

import gzip
import json
import logging
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, cast

from router.cli import exits
from router.cli.explain import Question, answers_about, as_json_members, as_text_lines, situation_of
from router.cli.rules_file import rules_file, valid_rules
from router.cli.trace_lines import NEEDS_SCAPY, protocol_name
from router.flows.trace.fields import Fields, read
from router.wire import icmp, ip, link

TCP_FLAGS: Final = 13
SYN_ACK: Final = 0x12
NO_TYPE: Final = -1
LARGEST_READ: Final = 16 << 20
"""Bytes of a block or a packet, as of Wireshark's own reader; a length beyond that is damage."""
GZIP: Final = b"\x1f\x8b"
DAMAGE: Final = (EOFError, ValueError, IndexError, ArithmeticError, zlib.error)
"""What reading a damaged file raises."""
MOST: Final = 100_000
"""Conversations that are told apart; packets of others are counted."""


class BadFileError(Exception):
    """The message names the file and the remedy."""


class _Stream:
    """A file, compressed or not, as the reader of packets takes it: a length in it can be anything,
    and is not allocated before there is as much."""

    name: Final = ""

    def __init__(self, file: gzip.GzipFile | BufferedReader) -> None:
        self._file = file

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[_Stream]:
        """Raises OSError."""
        with path.open("rb") as raw:
            is_compressed = raw.peek(len(GZIP)).startswith(GZIP)
            yield cls(gzip.GzipFile(fileobj=raw) if is_compressed else raw)

    def read(self, size: int) -> bytes:
        """Raises ValueError for what can be no length, and what decompression raises."""
        if size > LARGEST_READ:
            raise ValueError(f"a length of {size} bytes")
        return self._file.read(size)

    def seek(self, _: int) -> None:
        """The reader begins again where it finds something compressed."""
        raise ValueError("it is compressed twice")

    def close(self) -> None:
        self._file.close()


@dataclass(slots=True)
class Conversation:
    """From its beginner to the other end."""

    first: Fields
    packets: int = 0
    size: int = 0


class Conversations:
    """Those of one file, in the order of their first packets."""

    def __init__(self) -> None:
        self.found: dict[tuple[Any, ...], Conversation] = {}
        self.not_ip = 0
        self.beyond = 0

    def add(self, data: bytes, length: int) -> None:
        """A packet from its IP header on. length: bytes of all of it."""
        fields = read(data, 0, len(data))
        if fields is None or fields.is_error:
            self.not_ip += fields is None
            return
        there, back = _ends(fields), _ends(_turned(fields))
        known = self.found.get(there) or self.found.get(back)
        if known is None:
            if len(self.found) >= MOST:
                self.beyond += 1
                return
            is_answer = _is_answer(fields, data)
            known = Conversation(_turned(fields) if is_answer else fields)
            self.found[back if is_answer else there] = known
        known.packets += 1
        known.size += length


def explain_pcap(given: Path | None, file: Path, *, as_json: bool) -> int:
    """Print the answers; the exit status."""
    try:
        conversations = read_file(file)
    except BadFileError as error:
        print(f"tunrouter explain: {error}", file=sys.stderr)
        return exits.BAD_RULES
    loaded = valid_rules(rules_file(given), warnings=False)
    if loaded is None or loaded.config is None:
        return exits.BAD_RULES
    situation = situation_of(loaded.config)
    found = list(conversations.found.values())
    wanted = [_question(each) for each in found]
    questions = list(dict.fromkeys(wanted))
    answers = dict(zip(questions, answers_about(situation, questions), strict=True))
    pairs = [(each, answers[key]) for each, key in zip(found, wanted, strict=True)]
    if as_json:
        shown = [
            {"conversation": _members(each), **as_json_members(situation, what)}
            for each, what in pairs
        ]
        print(json.dumps(shown, indent=1))
    else:
        texts = ("\n".join(_text(each, as_text_lines(situation, what))) for each, what in pairs)
        print("\n\n".join(texts) if pairs else f"{file} has no IP packets")
    _say_what_is_missing(conversations)
    return exits.OK


def read_file(file: Path) -> Conversations:
    """All of a pcap or pcapng file. Raises BadFileError."""
    logging.getLogger("scapy").setLevel(logging.CRITICAL)
    try:
        from scapy.error import Scapy_Exception  # noqa: PLC0415 - takes a moment
        from scapy.utils import RawPcapReader  # noqa: PLC0415
    except ImportError as error:
        raise BadFileError(f"--pcap {NEEDS_SCAPY}") from error
    conversations = Conversations()
    try:
        if not file.is_file():
            file.stat()
            raise BadFileError(f"{file} is not a regular file: name a pcap or pcapng file")
        with _Stream.open(file) as stream, RawPcapReader(cast(Any, stream)) as packets:
            for data, meta in packets:
                kind = getattr(meta, "linktype", getattr(packets, "linktype", NO_TYPE))
                if kind not in link.KNOWN:
                    raise BadFileError(
                        f"{file} has packets of the link type {kind}, which is not known here: "
                        "capture on an interface with IP or Ethernet"
                    )
                _add(conversations, kind, data, getattr(meta, "wirelen", None) or len(data))
    except OSError as error:
        raise BadFileError(f"{file} cannot be read: {error.strerror or error}") from error
    except (Scapy_Exception, *DAMAGE) as error:
        raise BadFileError(
            f"{file} is no pcap or pcapng file, or it is damaged: write it anew, as by "
            "tcpdump -w FILE"
        ) from error
    return conversations


def _add(conversations: Conversations, kind: int, data: bytes, length: int) -> None:
    start = link.ip_offset(kind, data)
    if start is None:
        conversations.not_ip += 1
    else:
        conversations.add(data[start:], length - start)


def _say_what_is_missing(conversations: Conversations) -> None:
    for number, what in (
        (conversations.not_ip, "are not IP"),
        (conversations.beyond, f"belong to conversations beyond the first {MOST:,}"),
    ):
        if number:
            print(f"tunrouter explain: {number} packets {what}: left out", file=sys.stderr)


def _ends(fields: Fields) -> tuple[Any, ...]:
    return (
        *(fields.protocol, fields.source, fields.destination),
        *(fields.source_port, fields.destination_port),
    )


def _turned(fields: Fields) -> Fields:
    return fields._replace(
        source=fields.destination,
        destination=fields.source,
        source_port=fields.destination_port,
        destination_port=fields.source_port,
    )


def _is_answer(fields: Fields, data: bytes) -> bool:
    """Whether a packet shows that the other end has begun."""
    if fields.kind is not None:
        return fields.kind in icmp.REQUEST_OF[fields.version]
    at = fields.body + TCP_FLAGS
    return fields.protocol == ip.TCP and at < len(data) and data[at] & SYN_ACK == SYN_ACK


def _question(conversation: Conversation) -> Question:
    first = conversation.first
    port = first.destination_port if first.protocol in (ip.TCP, ip.UDP) else None
    return ip_address(first.destination), first.protocol, port


def _members(conversation: Conversation) -> dict[str, Any]:
    first = conversation.first
    return {
        "protocol": protocol_name(first.protocol),
        "source": ip.format_address(first.source),
        "source_port": first.source_port,
        "destination": ip.format_address(first.destination),
        "destination_port": first.destination_port,
        "packets": conversation.packets,
        "bytes": conversation.size,
    }


def _text(conversation: Conversation, lines: Iterator[str]) -> Iterator[str]:
    first = conversation.first
    ends = (_end(first.source, first.source_port), _end(first.destination, first.destination_port))
    next(lines)  # its destination
    number = conversation.packets
    packets = f"{number:,} packet{'' if number == 1 else 's'}, {conversation.size:,} bytes"
    yield f"{protocol_name(first.protocol)} {ends[0]} -> {ends[1]}: {packets}"
    yield from lines


def _end(address: bytes, port: int | None) -> str:
    written = str(ip_address(address))
    if port is None:
        return written
    return f"[{written}]:{port}" if ":" in written else f"{written}:{port}"
