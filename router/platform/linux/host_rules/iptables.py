"""Tables of ip_tables and ip6_tables, the packet filter before nf_tables.

Nothing lists them but the socket options of iptables-legacy: the entries of a table follow each
other; a jump names the offset of the entry that it leads to.

Always true: an entry counts the packets that it matches, so it has the effect COUNTS at least. The
kernel reports no changes of these tables, so where any exists it does not matter for forwarding
which of their verdicts refuse.

Sources: linux/netfilter_ipv4/ip_tables.h, linux/netfilter_ipv6/ip6_tables.h,
linux/netfilter/x_tables.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple

from router.platform.linux.host_rules import constants as nf
from router.platform.linux.host_rules.conditions import (
    DESTINATION,
    REGISTER,
    SOURCE,
    header,
    masked_is,
)
from router.platform.linux.host_rules.extensions import match_steps, target_effects
from router.platform.linux.host_rules.limits import MOST_RULES, TooManyRulesError
from router.platform.linux.netlink.messages import text
from router.policy.host_rules.model import Effect, Field, Jump, Load, Rule, Step, Table

SO_GET_INFO: Final = 64
SO_GET_ENTRIES: Final = 65
INFO: Final = Struct("=32x6I20xII")
"""ipt_getinfo: name, hooks that the table has as bits, where the hooks begin, where their policies
are, number of entries, their size in bytes."""
ENTRIES_OFFSET: Final = 40
"""Of ipt_get_entries, before which name and size are."""
TAIL: Final = Struct("=IHHI")
"""Of an entry behind its addresses: nfcache, offset of the target, offset of the next entry,
comefrom. Counters follow."""
EXTENSION: Final = Struct("=H29sB")
"""xt_entry_match and xt_entry_target: size, name, revision. Data follow."""
NAMES: Final = Struct("=16s16s16s16s")
"""Of an entry behind its addresses: input and output interface, and the masks of both."""
STANDARD_TARGET: Final = ""
DROP: Final = -nf.NF_DROP - 1
"""Of the standard target."""
ERROR_TARGET: Final = "ERROR"
"""The head of a chain of the user's, and the end of the table."""
INVERTED_OUTPUT: Final = 0x02
INVERTED_SOURCE: Final = 0x08
INVERTED_DESTINATION: Final = 0x10
NAME_SIZE: Final = 32
HOOK_NAMES: Final = {0: "PREROUTING", 1: "INPUT", 2: "FORWARD", 3: "OUTPUT", 4: "POSTROUTING"}
OUTGOING: Final = (nf.NF_INET_LOCAL_OUT, nf.NF_INET_POST_ROUTING)
INCOMING: Final = (nf.NF_INET_PRE_ROUTING,)
TRIES: Final = 10
"""A table may be replaced between the two system calls."""


class Layout(NamedTuple):
    """Of one family. Offsets in an entry: the flags that invert conditions, TAIL, matches."""

    version: int
    family: int
    level: int
    program: str
    names: Path
    address: int
    inverted: int
    tail: int
    matches: int


LAYOUTS: Final = (
    Layout(
        *(4, socket.AF_INET, socket.IPPROTO_IP),
        *("iptables", Path("/proc/net/ip_tables_names")),
        *(4, 83, 84, 112),
    ),
    Layout(
        *(6, socket.AF_INET6, socket.IPPROTO_IPV6),
        *("ip6tables", Path("/proc/net/ip6_tables_names")),
        *(16, 132, 136, 168),
    ),
)


UNREPORTED: Final = Table("iptables-legacy", (4, 6), {"": [[Effect.IS_UNREPORTED]]}, [""])
"""Stands for the fact that there are tables, whatever is in them."""


class Entry(NamedTuple):
    """One rule, or the head of a chain of the user's.

    steps: conditions and effects. verdict: of the standard target, else None. end: the offset
    behind it. head: the name of the chain that begins there, else None.
    """

    steps: list[Step]
    verdict: int | None
    end: int
    head: str | None


def read_iptables() -> list[Table]:
    """With UNREPORTED if there are any. Raises OSError, TooManyRulesError."""
    found = [_read_table(layout, name) for layout in LAYOUTS for name in _names(layout.names)]
    return [*found, UNREPORTED] if found else []


def has_tables() -> bool:
    """Whether there are any. Raises OSError."""
    return any(_names(layout.names) for layout in LAYOUTS)


def parse_table(layout: Layout, name: str, entries: bytes, hooks: Mapping[int, int]) -> Table:
    """From the entries, and where among them the built-in chains begin, by number of the hook."""
    starts = {offset: HOOK_NAMES[hook] for hook, offset in hooks.items()}
    chains: dict[str, list[Entry]] = {}
    current: list[Entry] = []
    offset = 0
    while offset < len(entries):
        if offset in starts:
            current = chains.setdefault(starts[offset], [])
        entry = _entry(layout, entries, offset)
        offset = entry.end
        if entry.head is None:
            current.append(entry)
        else:
            starts[offset] = entry.head
    outgoing, incoming = (
        [HOOK_NAMES[hook] for hook in wanted if hook in hooks] for wanted in (OUTGOING, INCOMING)
    )
    rules = {chain: _rules(each, starts) for chain, each in chains.items()}
    return Table(f"{layout.program} table {name}", (layout.version,), rules, outgoing, incoming)


def _rules(entries: Sequence[Entry], chains: Mapping[int, str]) -> list[Rule]:
    """Of a chain; the last entry is its policy or the return to the chain before."""
    rules: list[Rule] = []
    for entry in entries[:-1]:
        jumps = entry.verdict in chains and entry.verdict != entry.end
        jump = [Jump(chains[entry.verdict])] if jumps and entry.verdict is not None else []
        rules.append([*entry.steps, *jump])
    return rules


def _entry(layout: Layout, entries: bytes, offset: int) -> Entry:
    _, target, size, _ = TAIL.unpack_from(entries, offset + layout.tail)
    steps = list(_conditions(layout, entries[offset : offset + layout.matches]))
    for name, revision, data in _matches(entries[offset + layout.matches : offset + target]):
        steps += match_steps(name, revision, data)
    steps.append(Effect.COUNTS)
    name, _, data = _extension(entries, offset + target)
    verdict = head = None
    if name == STANDARD_TARGET:
        verdict = int.from_bytes(data[:4], sys.byteorder, signed=True)
        if verdict == DROP:
            steps.append(Effect.REFUSES)
    elif name == ERROR_TARGET:
        head = text(data.partition(b"\0")[0])
    else:
        steps += target_effects(name)
    return Entry(steps, verdict, offset + size, head)


def _conditions(layout: Layout, entry: bytes) -> Iterator[Step]:
    """That of the interface, and those of the addresses that can be decided."""
    size, inverted = layout.address, entry[layout.inverted]
    source, destination, source_mask, destination_mask = (
        entry[place * size : (place + 1) * size] for place in range(4)
    )
    yield from masked_is(
        header(SOURCE[layout.version], size),
        *(source, source_mask),
        equal=not inverted & INVERTED_SOURCE,
    )
    yield from masked_is(
        header(DESTINATION[layout.version], size),
        *(destination, destination_mask),
        equal=not inverted & INVERTED_DESTINATION,
    )
    _, name, _, mask = NAMES.unpack_from(entry, 4 * size)
    yield from masked_is(
        Load(REGISTER, Field.INTERFACE_NAME),
        *(name, mask),
        equal=not inverted & INVERTED_OUTPUT,
    )


def _matches(data: bytes) -> Iterator[tuple[str, int, bytes]]:
    offset = 0
    while offset < len(data):
        yield _extension(data, offset)
        offset += EXTENSION.unpack_from(data, offset)[0]


def _extension(data: bytes, offset: int) -> tuple[str, int, bytes]:
    """Name, revision and data of a match or target."""
    size, name, revision = EXTENSION.unpack_from(data, offset)
    if size < EXTENSION.size:
        raise OSError(errno.EBADMSG, os.strerror(errno.EBADMSG))
    return (
        text(name.partition(b"\0")[0]),
        revision,
        data[offset + EXTENSION.size : offset + size],
    )


def _names(listing: Path) -> list[str]:
    """None where the kernel has no such tables."""
    try:
        return listing.read_text().split()
    except FileNotFoundError:
        return []


def _read_table(layout: Layout, name: str) -> Table:
    """Raises OSError, TooManyRulesError."""
    start = name.encode().ljust(NAME_SIZE, b"\0")
    with socket.socket(layout.family, socket.SOCK_RAW, socket.IPPROTO_RAW) as sock:
        for _ in range(TRIES):
            info = INFO.unpack(_get_option(sock, layout.level, SO_GET_INFO, start, INFO.size))
            valid, *offsets, number, size = info
            if number > MOST_RULES:
                raise TooManyRulesError
            request = start + size.to_bytes(4, sys.byteorder)
            try:
                answer = _get_option(
                    *(sock, layout.level, SO_GET_ENTRIES, request, ENTRIES_OFFSET + size)
                )
            except BlockingIOError:
                continue
            hooks = {hook: offsets[hook] for hook in HOOK_NAMES if valid & 1 << hook}
            return parse_table(layout, name, answer[ENTRIES_OFFSET:], hooks)
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def _get_option(sock: socket.socket, level: int, option: int, request: bytes, size: int) -> bytes:
    """getsockopt(2) of an option that reads its buffer too, as socket.getsockopt() cannot. Raises
    OSError."""
    buffer = ctypes.create_string_buffer(request, size)
    length = ctypes.c_uint32(size)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.getsockopt(sock.fileno(), level, option, buffer, ctypes.byref(length)):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return buffer.raw
