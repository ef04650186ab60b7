"""Each parser that strangers reach, as a function of bytes that raises only if a promise is broken.

A target is found by its name, which is that of its folder in the corpus as well.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
from collections.abc import Callable, Container, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from router.config.lists_alone import read_lists
from router.flows.drops import Drop
from router.flows.reassembly import Reassembler
from router.platform.linux.entries import describe, parse_entry
from router.platform.linux.operations.interface_argument import check_interface
from router.platform.privileged import arguments
from router.platform.privileged.channel import Channel, Message
from router.platform.privileged.guard import LARGEST_REQUEST, carry_out
from router.platform.privileged.prefix_records import unpack_records
from router.wire import icmp, ip, offload, tcp, udp
from router.wire.socks5 import Command, Credentials, Dialogue, request, udp_header_size
from tests.fuzz import machine
from tests.unit.config.test_fuzz import checked
from tests.unit.control.test_server import World as ControlWorld
from tests.unit.control.test_server import everything
from tests.unit.wire.test_ip import check_view

Target = Callable[[Path, bytes], None]
"""Called with a directory of its own, and an input."""

OURS: Final = bytes([192, 168, 7, 1])
REQUEST: Final = request(Command.CONNECT, OURS, 80)
KINDS: Final = (icmp.Error.NO_ROUTE, icmp.Error.HOP_LIMIT_EXCEEDED)


def rules(directory: Path, data: bytes) -> None:
    """A rules file."""
    checked(directory, data)


def lists(directory: Path, data: bytes) -> None:
    """A list, as text and as what should be gzip."""
    for name in ("list.txt", "list.gz"):
        path = directory / name
        path.write_bytes(data)
        read = read_lists([str(path)])
        assert all(problem.message and problem.help for problem in read.problems)
        for problem in read.problems:
            shown = problem.as_text(read.sources)
            assert shown.replace("\n", "").replace("\t", "").isprintable()


def packet(_: Path, data: bytes) -> None:
    """Headers of a packet, and what is answered to one."""
    check_view(data)
    try:
        view = ip.parse(data)
    except ip.Malformed:
        return
    for read in (icmp.is_error, icmp.is_echo_request, icmp.message_type, icmp.has_valid_checksum):
        read(view)
    udp.length(view)
    if view.protocol == ip.TCP and tcp.is_whole(view):
        reset = tcp.reset(view)
        assert reset is None or tcp.is_whole(ip.parse(reset))
    if icmp.is_echo_request(view) and not view.is_fragment:
        assert icmp.has_valid_checksum(ip.parse(icmp.echo_reply(view)))
    source = OURS if view.version == 4 else OURS * 4
    for kind in KINDS:
        error = ip.parse(icmp.error(source, view, kind))
        assert icmp.is_error(error)
        assert icmp.has_valid_checksum(error)


def frames(_: Path, data: bytes) -> None:
    """What comes out of the TUN with a virtio header."""
    data = data.ljust(offload.HEADER + 1, b"\0")
    frame, size = bytearray(offload.HEADER + 65535), len(data)
    frame[:size] = data
    udp.framed(frame, size)
    icmp.query_key(frame[offload.HEADER : size])
    for one in offload.packets(frame, size):
        assert len(one) < size
    offload.complete(frame, size)
    assert len(frame) == offload.HEADER + 65535


def fragments(_: Path, data: bytes) -> None:
    """A stream of fragments: each with its length in two bytes before it."""
    reassembler, now = Reassembler(), 0.0
    while len(data) > 2:
        size = int.from_bytes(data[:2], "big")
        with contextlib.suppress(ip.Malformed):
            view = ip.parse(data[2 : 2 + size])
            if view.is_fragment:
                whole = reassembler.add(view, now)
                assert whole is None or isinstance(whole, Drop) or not whole.is_fragment
        data, now = data[2 + size :], now + 1.0
    for _first in reassembler.expire(1e6):
        pass
    assert (len(reassembler), reassembler.held) == (0, 0)


def guard(_: Path, data: bytes) -> None:
    """What the guard receives: messages, their arguments, and records."""
    ours, theirs = socket.socketpair()
    channel = Channel(ours, LARGEST_REQUEST)
    with theirs:
        theirs.setblocking(False)
        theirs.send(data)
        theirs.shutdown(socket.SHUT_WR)
        try:
            while select.select([ours], [], [], 0)[0]:
                reply = carry_out(Checks(), channel.receive())
                assert reply.value.keys() & {"value", "refused", "errno"}
                assert len(json.dumps(reply.value)) < 1000
        except (EOFError, ValueError, OSError):
            return
        finally:
            channel.close()


class Checks:
    """See Operations: requests whose arguments are checked, and nothing done with them."""

    with_records: Container[str] = ("add_routes",)
    router = undoer = None

    def __init__(self) -> None:
        self.by_name: Mapping[str, Callable[..., Message]] = {
            "add_routes": _read_records,
            "check_version": _check(arguments.check_version),
            "check_address": _check(arguments.check_address),
            "check_number": _check(lambda value: arguments.check_number(value, 1, 9)),
            "check_interface": _check(lambda value: check_interface(value, 0)),
        }

    def close(self) -> bool:
        return True


def _check(check: Callable[[Any], object]) -> Callable[..., Message]:
    def operation(value: Any) -> Message:
        check(value)
        return Message(None)

    return operation


def _read_records(records: bytes) -> Message:
    return Message(sum(1 for _ in unpack_records(records)))


def control(directory: Path, data: bytes) -> None:
    """A request to the control socket: an answer, or one error that is a sentence."""
    directory.joinpath("socket").unlink(missing_ok=True)
    world = ControlWorld(directory)
    try:
        client = world.client(data.replace(b"long", b"echo"))
        with contextlib.suppress(OSError):  # it may be answered already
            client.shutdown(socket.SHUT_WR)
        world.rounds.run(20)
        if world.pending:
            return
        answer = json.loads(everything(client))
        assert isinstance(answer, dict)
    finally:
        world.stop()
        world.close()


def journal(directory: Path, data: bytes) -> None:
    """A line of the journal: what the undoer would do, or why it does not."""
    for line in data.splitlines():
        try:
            entry = parse_entry(line, directory)
        except ValueError as error:
            assert str(error).isprintable()
        else:
            assert describe(entry)


def socks5(_: Path, data: bytes) -> None:
    """What a proxy answers, in pieces of any size, and the header of a datagram from it."""
    size = data[0] % 7 + 1 if data else 1
    for credentials in (None, Credentials(b"me", b"secret")):
        whole, pieces = (Dialogue(credentials, REQUEST) for _ in range(2))
        whole.feed(data)
        for at in range(0, len(data), size):
            pieces.feed(data[at : at + size])
        for dialogue in (whole, pieces):
            assert (dialogue.wanted == 0) == (dialogue.outcome is not None)
            dialogue.end()
        assert whole.outcome == pieces.outcome is not None
    header = udp_header_size(data)
    assert header is None or header <= len(data)


TARGETS: Final[Mapping[str, Target]] = MappingProxyType(
    {
        "rules": rules,
        "lists": lists,
        "packet": packet,
        "frames": frames,
        "fragments": fragments,
        "guard": guard,
        "control": control,
        "journal": journal,
        "socks5": socks5,
        "machine": machine.drive,
    }
)
