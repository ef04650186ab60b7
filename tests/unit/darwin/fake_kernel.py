"""A fake of xnu's routing: a PF_ROUTE socket and sysctl dumps over a table of routes.

It refuses what route_output refuses (net/rtsock.c:319-1010), reads requests by the C layouts of
`layouts`, not by the code under test, and looks routes up as rt_lookup_common does
(net/route.c:3264-3390). Numbers of lines are those of xnu-11417.101.15.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv6Interface
from typing import NamedTuple

from tests.unit.darwin import layouts

UP, GATEWAY, HOST, STATIC = 0x1, 0x2, 0x4, 0x800
REJECT, BLACKHOLE = 0x8, 0x1000
CLONING, LLINFO, WASCLONED, IFSCOPE, PROXY = 0x100, 0x400, 0x20000, 0x1000000, 0x8000000
LOOPBACK, POINTOPOINT = 0x8, 0x10
USUAL = 0x41  # IFF_UP | IFF_RUNNING
WIDTH = {4: 32, 6: 128}
VERSION = {2: 4, 30: 6}
FAMILY = {4: 2, 6: 30}
UNSCOPED = 0


class Key(NamedTuple):
    """What xnu has one route for: the radix key with its scope, and the mask."""

    version: int
    first: int
    length: int
    is_host: bool = False
    scope: int = UNSCOPED


@dataclass
class Entry:
    index: int
    flags: int
    gateway: bytes
    mtu: int = 1500


@dataclass
class Link:
    name: str
    index: int
    flags: int = USUAL
    mtu: int = 1500
    addresses: list[IPv4Interface | IPv6Interface] = field(default_factory=list)


def refuse(number: int) -> OSError:
    return OSError(number, os.strerror(number))


class FakeKernel:
    """links: by index. is_root: whether the socket was opened by root."""

    def __init__(self, *links: Link) -> None:
        self.links = {link.index: link for link in links}
        self.table: dict[Key, Entry] = {}
        self.is_root = True
        self.written: list[bytes] = []
        self.events: list[bytes | OSError] = []
        self.boot = "2D5B0E2A"

    # What a program sees.

    def route_socket(self) -> FakeSocket:
        return FakeSocket(self)

    def event_socket(self) -> FakeSocket:
        return FakeSocket(self)

    def sysctl(self, name: Sequence[int]) -> bytes:
        assert tuple(name[:3]) == (4, 17, 0), "CTL_NET, PF_ROUTE, 0"
        family, operation, argument = name[3:]
        assert argument == 0
        if operation == 7:
            version = VERSION[family]
            found = [each for each in self.table.items() if each[0].version == version]
            return b"".join(dump_route(key, entry) for key, entry in found)
        assert (operation, family) == (6, 0)
        return b"".join(b"".join(dump_link(link)) for link in self.links.values())

    def boot_session(self) -> str:
        return self.boot

    # What others do.

    def add(
        self, key: Key, index: int, *, gateway: bytes | None = None, flags: int = STATIC
    ) -> None:
        """A route of another program or of the kernel."""
        assert key not in self.table
        scoped = IFSCOPE if key.scope else 0
        extra = (HOST if key.is_host else 0) | (GATEWAY if gateway else 0) | scoped
        self.table[key] = Entry(index, UP | flags | extra, gateway or link_address(index))

    def remove_link(self, index: int) -> None:
        """With its routes, as when its descriptor is closed."""
        del self.links[index]
        self.table = {key: entry for key, entry in self.table.items() if entry.index != index}

    # rt_lookup_common, without a netmask.

    def lookup(self, version: int, address: int, scope: int = UNSCOPED) -> Entry | None:
        is_any = scope == UNSCOPED
        original = found = self._match(version, address, UNSCOPED)  # 3264
        if is_any:
            scope = self._primary(version)
        if found is not None:
            entry = self.table[found]
            is_local = self.links[entry.index].flags & LOOPBACK and not entry.flags & GATEWAY
            if not is_local and entry.index != scope:  # 3296
                found = None
                if is_any:
                    scope = entry.index
                else:
                    original = None
            elif not is_local and not entry.flags & IFSCOPE:  # 3316
                found = None
        if found is None:
            found = self._match(version, address, scope)  # 3335
        if found is None or (  # 3368
            original is not None
            and (
                (found.first == 0 and original.first != 0)  # SA_DEFAULT, 404: of any length
                or (not found.is_host and original.is_host)
            )
        ):
            found = original
        if found is None:  # 3384
            default = Key(version, 0, 0)
            is_usable = default in self.table and self.table[default].index == scope
            found = default if is_usable else None
        return None if found is None else self.table[found]

    def _match(self, version: int, address: int, scope: int) -> Key | None:
        """The longest match among the routes of a scope; a host route before a network route."""
        width = WIDTH[version]
        lengths = [(width, True), *((length, False) for length in range(width, -1, -1))]
        for length, is_host in lengths:
            first = address >> (width - length) << (width - length)
            key = Key(version, first, length, is_host, scope)
            if key in self.table:
                return key
        return None

    def _primary(self, version: int) -> int:
        default = self.table.get(Key(version, 0, 0))
        return UNSCOPED if default is None else default.index

    # route_output.

    def write(self, message: bytes) -> None:
        if len(message) < 92 or len(message) != int.from_bytes(message[:2], "little"):
            raise refuse(errno.EINVAL)  # 349
        header = layouts.RtMsghdr.from_buffer_copy(message)
        if header.rtm_version != 5:
            raise refuse(errno.EPROTONOSUPPORT)
        if header.rtm_type != 4 and not self.is_root:
            raise refuse(errno.EPERM)  # 396
        addresses = dict(sockaddrs(message[92:], header.rtm_addrs))
        key = self._key(header, addresses)
        if header.rtm_flags & PROXY:
            raise refuse(errno.EINVAL)
        if header.rtm_type == 1:
            self._add(key, header, addresses.get(2))
        elif header.rtm_type == 2:
            if key not in self.table:  # exactly this mask: rnh_deladdr
                raise refuse(errno.ESRCH)
            del self.table[key]
        elif header.rtm_type == 4:
            self._report(key, header)
        else:
            raise refuse(errno.EOPNOTSUPP)
        self.written.append(message)

    def _report(self, key: Key, header: layouts.RtMsghdr) -> None:
        """617-730, to all routing sockets: the route, its interface (RTA_IFP) and source
        (RTA_IFA)."""
        found = self.lookup(key.version, key.first, key.scope)
        if found is None:
            raise refuse(errno.ESRCH)
        link = self.links[found.index]
        sources = (each for each in link.addresses if each.version == key.version)
        body = address_bytes(key.version, key.first) + found.gateway
        body += link_address(link.index, link.name)
        body += address_bytes(key.version, int(next(sources).ip))
        answer = layouts.RtMsghdr(
            rtm_msglen=92 + len(body),
            rtm_version=5,
            rtm_type=4,
            rtm_index=found.index,
            rtm_flags=found.flags | HOST,
            rtm_addrs=0x33,
            rtm_pid=os.getpid(),
            rtm_seq=header.rtm_seq,
        )
        answer.rtm_rmx.rmx_mtu = found.mtu
        self.events.append(bytes(answer) + body)

    def _key(self, header: layouts.RtMsghdr, addresses: dict[int, bytes]) -> Key:
        destination = addresses.get(1, b"")
        version = VERSION.get(destination[1]) if len(destination) > 1 else None
        if version is None or destination[0] != (16 if version == 4 else 28):
            raise refuse(errno.EINVAL)  # 412-440
        scope = header.rtm_index if header.rtm_flags & IFSCOPE else UNSCOPED
        first = int.from_bytes(destination[4:8] if version == 4 else destination[8:24], "big")
        if header.rtm_flags & HOST:
            return Key(version, first, WIDTH[version], True, scope)
        mask = addresses[4][4:8] if version == 4 else addresses[4][8:24]
        length = int.from_bytes(mask, "big").bit_count()
        shift = WIDTH[version] - length
        return Key(version, first >> shift << shift, length, False, scope)

    def _add(self, key: Key, header: layouts.RtMsghdr, gateway: bytes | None) -> None:
        if gateway is None:
            raise refuse(errno.EINVAL)
        assert gateway[1] == 18, "the router adds routes by interfaces alone"
        link = self.links.get(layouts.SockaddrDl.from_buffer_copy(gateway).sdl_index)
        families = set() if link is None else {each.version for each in link.addresses}
        if link is None or key.version not in families:
            raise refuse(errno.ENETUNREACH)  # ifa_ifwithroute: of the interface and the family
        if key.scope not in (UNSCOPED, link.index):
            raise refuse(errno.ENETUNREACH)
        if key in self.table and not self.table[key].flags & WASCLONED:
            raise refuse(errno.EEXIST)  # net/route.c:2414
        flags = UP | header.rtm_flags
        mtu = header.rtm_rmx.rmx_mtu if header.rtm_inits & 1 else link.mtu
        self.table[key] = Entry(link.index, flags, gateway, mtu)


class FakeSocket:
    def __init__(self, kernel: FakeKernel) -> None:
        self._kernel = kernel
        self.is_open = True

    def fileno(self) -> int:
        return -1

    def send(self, message: bytes, /) -> int:
        assert self.is_open
        self._kernel.write(message)
        return len(message)

    def recv(self, size: int, /) -> bytes:
        assert self.is_open
        if not self._kernel.events:
            raise BlockingIOError(errno.EAGAIN, "nothing")
        event = self._kernel.events.pop(0)
        if isinstance(event, OSError):
            raise event
        return event[:size]

    def close(self) -> None:
        self.is_open = False


def sockaddrs(body: bytes, present: int) -> Iterator[tuple[int, bytes]]:
    """rt_xaddrs, net/rtsock.c:1142-1290."""
    for bit in (1 << number for number in range(8)):
        if not present & bit or not body:
            continue
        length = body[0]
        if length > len(body) or length < 2:
            raise refuse(errno.EINVAL)
        yield bit, body[:length]
        body = body[(length + 3) // 4 * 4 :]


def address_bytes(version: int, value: int) -> bytes:
    if version == 4:
        return bytes([16, 2, 0, 0]) + value.to_bytes(4, "big") + bytes(8)
    return bytes([28, 30, 0, 0, 0, 0, 0, 0]) + value.to_bytes(16, "big") + bytes(4)


def link_address(index: int, name: str = "") -> bytes:
    return bytes(
        layouts.SockaddrDl(
            sdl_len=20,
            sdl_family=18,
            sdl_index=index,
            sdl_type=1,
            sdl_nlen=len(name),
            sdl_data=name.encode(),
        )
    )


def mask_bytes(version: int, length: int) -> bytes:
    """Cut behind the last byte that is not 0, and filled up to four (rn_addmask, rtm_scrub)."""
    width = WIDTH[version]
    mask = (((1 << length) - 1) << (width - length)).to_bytes(width // 8, "big")
    whole = (b"\xff" * (4 if version == 4 else 8) + mask).rstrip(b"\0") if length else b""
    if not whole:
        return bytes(4)
    whole = bytes([len(whole)]) + whole[1:]
    return whole + bytes(-len(whole) % 4)


def route_bytes(kind: int, key: Key, entry: Entry, error: int = 0) -> bytes:
    """As in a dump (kind 0x14), or as an event."""
    present = 3 if key.is_host else 7
    body = address_bytes(key.version, key.first) + entry.gateway
    body += b"" if key.is_host else mask_bytes(key.version, key.length)
    structure = layouts.RtMsghdr2 if kind == 0x14 else layouts.RtMsghdr
    header = structure(
        rtm_msglen=92 + len(body),
        rtm_version=5,
        rtm_type=kind,
        rtm_index=entry.index,
        rtm_flags=entry.flags,
        rtm_addrs=present,
    )
    if isinstance(header, layouts.RtMsghdr):
        header.rtm_errno = error
    header.rtm_rmx.rmx_mtu = entry.mtu
    return bytes(header) + body


def dump_route(key: Key, entry: Entry) -> bytes:
    return route_bytes(0x14, key, entry)


def dump_link(link: Link) -> Iterator[bytes]:
    name = link_address(link.index, link.name)
    header = layouts.IfMsghdr2(
        ifm_msglen=160 + len(name),
        ifm_version=5,
        ifm_type=0x12,
        ifm_addrs=0x10,
        ifm_flags=link.flags,
        ifm_index=link.index,
    )
    header.ifm_data.ifi_mtu = link.mtu
    yield bytes(header) + name
    for each in link.addresses:
        body = mask_bytes(each.version, each.network.prefixlen)
        body += address_bytes(each.version, int(each.ip))
        address = layouts.IfaMsghdr(
            ifam_msglen=20 + len(body),
            ifam_version=5,
            ifam_type=0xC,
            ifam_addrs=0x24,
            ifam_index=link.index,
        )
        yield bytes(address) + body
