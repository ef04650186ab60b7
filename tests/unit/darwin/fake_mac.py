"""A whole fake Mac: that of `macs`, and utuns that ifconfig(8) gives addresses to."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Interface, IPv6Interface

from tests.unit.darwin.fake_control import FakeSystem
from tests.unit.darwin.fake_kernel import CLONING, POINTOPOINT, USUAL, Key, Link
from tests.unit.darwin.macs import UTUN, Mac


class FakeMac(FakeSystem):
    """See UtunKernel; `kernel` see RoutingKernel. Without the utun of that one."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = Mac().kernel
        self.kernel.remove_link(UTUN)
        self.before = dict(self.kernel.table)

    def index_of(self, name: str) -> int:
        return UTUN - 11 + int(name.removeprefix("utun"))

    def configure(self, arguments: Sequence[str]) -> None:
        super().configure(arguments)
        name, kind, address, *more = arguments
        index = self.index_of(name)
        if kind == "mtu":
            self.kernel.links[index] = Link(name, index, USUAL | POINTOPOINT, int(address))
        elif kind == "inet":
            link = self.kernel.links[index]
            link.addresses.append(IPv4Interface(f"{address}/32"))
            peer = int(IPv4Interface(more[0]).ip)
            self.kernel.add(Key(4, peer, 32, True), index, flags=0)
        else:
            own = IPv6Interface(f"{address}/{more[1]}")
            self.kernel.links[index].addresses.append(own)
            network = int(own.network.network_address)
            self.kernel.add(Key(6, network, own.network.prefixlen), index, flags=CLONING)
