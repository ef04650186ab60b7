"""The Mac of the tests, and how routes are written in them."""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv6Interface, ip_network
from pathlib import Path
from typing import Final

from router.platform.darwin.entries import parse_entry
from router.platform.darwin.routes import DarwinRoutes
from router.platform.darwin.sockaddr import Link as LinkAddress
from router.platform.darwin.undo import undo
from router.platform.privileged.undoable import Entry, as_line
from router.policy.routes.route import Label, Route
from tests.unit.darwin.fake_kernel import (
    CLONING,
    LOOPBACK,
    POINTOPOINT,
    USUAL,
    FakeKernel,
    Key,
    Link,
    address_bytes,
)

EN0, EN1, VPN, UTUN, LO = 4, 5, 8, 17, 1
GATEWAY = address_bytes(4, 0xC0A80101)
ADDRESSES: Final = (IPv4Interface("192.168.7.1/30"), IPv6Interface("fd77::1/126"))
LINK: Final = LinkAddress(UTUN, "utun11")
LABEL: Final = Label(1400)
DIRECTORY: Final = Path("/var/run/tunrouter")


def network(text: str) -> tuple[int, int, int]:
    parsed = ip_network(text)
    return parsed.version, int(parsed.network_address), parsed.prefixlen


def route(text: str, mtu: int = 1400) -> Route:
    return Route(*network(text), Label(mtu))


def key(text: str, *, is_host: bool = False, scope: int = 0) -> Key:
    return Key(*network(text), is_host, scope)


class Mac:
    """The first user's machine: en0 with the default, a VPN with split routes alone."""

    def __init__(self) -> None:
        self.kernel = FakeKernel(
            Link("lo0", LO, USUAL | LOOPBACK, 16384, [IPv4Interface("127.0.0.1/8")]),
            Link("en0", EN0, 0x8863, 1500, list(of("192.168.1.7/24", "2001:db8:1::7/64"))),
            Link("en1", EN1, 0x8863, 1500, list(of("192.168.2.7/24"))),
            Link("utun3", VPN, 0x8051, 1380, list(of("10.8.0.2/32", "fd08::2/64"))),
            Link("utun11", UTUN, USUAL | POINTOPOINT, 1500, list(ADDRESSES)),
        )
        add = self.kernel.add
        add(key("0.0.0.0/0"), EN0, gateway=GATEWAY)
        add(key("0.0.0.0/0", scope=EN1), EN1, gateway=GATEWAY)
        add(key("192.168.1.0/24"), EN0, flags=CLONING)
        add(key("192.168.2.0/24"), EN1, flags=CLONING)
        add(key("::/0"), EN0, gateway=address_bytes(6, 1))
        add(key("2001:db8:1::/64"), EN0, flags=CLONING)
        add(key("10.0.0.0/8"), VPN)
        add(key("fd08::/32"), VPN)
        add(key("192.168.7.2/32", is_host=True), UTUN, flags=0)
        add(key("fd77::/126"), UTUN, flags=CLONING)
        self.recorded: list[Entry] = []
        self.before = dict(self.kernel.table)

    def routes(self) -> DarwinRoutes:
        return DarwinRoutes(self.kernel, LINK, 1500, ADDRESSES, self.recorded.append)

    def added(self) -> set[Key]:
        return set(self.kernel.table) - set(self.before)

    def device(self, address: str, scope: int = 0) -> int | None:
        version, first, _ = network(address)
        found = self.kernel.lookup(version, first, scope)
        return None if found is None else found.index

    def end(self) -> None:
        """As the undoer does, and then the kernel."""
        for entry in reversed(self.recorded):
            undo(self.kernel, parse_entry(as_line(entry), DIRECTORY))
        self.kernel.remove_link(UTUN)


def of(*addresses: str) -> list[IPv4Interface | IPv6Interface]:
    return [IPv6Interface(each) if ":" in each else IPv4Interface(each) for each in addresses]
