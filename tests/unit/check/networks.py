"""Networks that rules are checked against in tests, as plain data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface, ip_network

from router.config.model import Proxy
from router.policy.host_rules.model import HostRules
from router.policy.kernel import Way
from router.policy.network import (
    TABLE_LOCAL,
    Endpoint,
    Interface,
    Network,
    ProxyFault,
    RouteKind,
    SystemRoute,
    TableLookup,
)
from router.policy.routes.fib import longest
from tests.unit.darwin.macbook import macbook


def interface(
    name: str, index: int, *addresses: str, up: bool = True, mtu: int = 1500, tunnel: bool = False
) -> Interface:
    """An interface; a tunnel resolves no neighbours."""
    held = tuple(ip_interface(address) for address in addresses)
    return Interface(name, index, up, mtu, held, not tunnel)


def route(text: str, table: int = 254, kind: RouteKind = RouteKind.UNICAST) -> SystemRoute:
    """From `PREFIX INTERFACE [GATEWAY]`."""
    prefix, name, *gateway = text.split()
    network = ip_network(prefix)
    return SystemRoute(
        network.version,
        int(network.network_address),
        network.prefixlen,
        name,
        int(ip_address(gateway[0])) if gateway else None,
        table=table,
        kind=kind,
    )


def connected(interfaces: Iterable[Interface]) -> list[SystemRoute]:
    """What the kernel adds for each address."""
    routes = []
    for each in interfaces:
        for address in each.addresses:
            routes.append(route(f"{address.ip} {each.name}", TABLE_LOCAL, RouteKind.LOCAL))
            if each.name != "lo":
                routes.append(route(f"{address.network} {each.name}"))
    return routes


def network(
    interfaces: Iterable[Interface],
    routes: Iterable[str],
    dns: Iterable[str] = (),
    endpoints: Iterable[Endpoint] = (),
) -> Network:
    """A network with connected routes and these besides."""
    interfaces, routes = list(interfaces), list(routes)
    servers = tuple((ip_address(server).version, int(ip_address(server))) for server in dns)
    return Network(
        {each.name: each for each in interfaces},
        (*connected(interfaces), *map(route, routes)),
        servers,
        tuple(endpoints),
        default_holders=_holders(map(route, routes)),
    )


def _holders(routes: Iterable[SystemRoute]) -> dict[int, str | None]:
    return {each.version: each.interface for each in routes if not each.length}


@dataclass
class SnapshotWays:
    """See KernelWays: by the longest prefix of the routes of a network, whatever their table."""

    network: Network

    def way(self, version: int, address: int) -> Way | None:
        return self._longest(version, address, None)

    def way_by(
        self, version: int, address: int, interface: str, source: bytes | None
    ) -> Way | None:
        return self._longest(version, address, interface)

    def _longest(self, version: int, address: int, interface: str | None) -> Way | None:
        found = longest(
            (
                each
                for each in self.network.routes
                if each.kind is RouteKind.UNICAST and interface in (None, each.interface)
            ),
            version,
            address,
        )
        if found is None:
            return None
        size = 4 if version == 4 else 16
        gateway = None if found.gateway is None else found.gateway.to_bytes(size, "big")
        source = self.network.interfaces[found.interface].source(version)
        return Way(found.interface, source.packed if source else None, gateway)

    def default_holder(self, version: int) -> str | None:
        return self.network.default_holders.get(version)

    def close(self) -> None:
        pass


INTERFACES = (
    interface("lo", 1, "127.0.0.1/8", "::1/128", mtu=65536, tunnel=True),
    interface("eth0", 2, "192.0.2.2/24", "2001:db8:2::2/64", "fe80::2/64"),
    interface("eth1", 3, "172.20.0.5/16"),
    interface("eth2", 4, up=False),
    interface("wg0", 5, "10.8.0.2/24", "fd08::2/64", mtu=1420, tunnel=True),
    interface("ppp0", 6, "10.99.0.2/32", mtu=1400, tunnel=True),
)

LAPTOP = network(
    INTERFACES,
    [
        "0.0.0.0/0 eth0 192.0.2.1",
        "::/0 eth0 2001:db8:2::1",
        "172.30.0.0/16 eth1 172.20.0.1",
        "10.8.0.0/16 wg0",
        "10.50.0.0/16 ppp0",
        "10.51.0.0/16 ppp0",
    ],
    dns=["192.0.2.53", "10.8.0.53"],
    endpoints=[
        Endpoint("wg0", 4, int(ip_address("203.0.113.2")), 51820),
        Endpoint("wg0", 6, int(ip_address("2001:db8:113::2")), 51820),
    ],
)
"""At home, with a WireGuard office VPN (wg0), another VPN (ppp0) and a lab (eth1)."""

MESH = LAPTOP._replace(
    routes=(*LAPTOP.routes, route("100.64.0.0/10 ppp0", table=52)),
    lookups=(TableLookup(4, 5270, 52), *LAPTOP.lookups),
)
"""The same with a VPN that has a routing table of its own, looked up before the main one."""

RUNNING = network(
    [*INTERFACES, interface("tun0", 7, "192.168.7.1/30", "fd77::1/126", tunnel=True)], []
)._replace(
    own_tuns=frozenset({"tun0"}),
)
"""With a running router whose rules capture nothing."""

OFFLINE = network(INTERFACES[:1], [])
"""Loopback and nothing else."""

UNREADABLE = Network(unread=("the interfaces and routes of this system",), readable=False)

PARTLY_READ = LAPTOP._replace(endpoints=(), unread=("the endpoints of wg0 (only root may)",))

FIREWALLED = LAPTOP._replace(
    host_rules=HostRules(
        {"eth0": "nftables table ip nat translates addresses or ports of what leaves (chain out)"},
        path_checks={
            6: "nftables table inet firewalld drops what arrives by another interface than the "
            "route to its sender (chain filter_PREROUTING)"
        },
        owner_checks={
            "eth0": "nftables table inet t looks at the owner of what leaves (chain out)"
        },
        mark_checks={
            "eth0": "nftables table inet t refuses what has a mark or priority (chain out)"
        },
    ),
)
MACBOOK = macbook()
NETWORKS = {
    "firewalled": FIREWALLED,
    "laptop": LAPTOP,
    "macbook": MACBOOK,
    "mesh": MESH,
    "offline": OFFLINE,
    "running": RUNNING,
    "unreadable": UNREADABLE,
    "partly read": PARTLY_READ,
    "proxies": LAPTOP._replace(
        proxy_faults={
            Proxy("proxy.example", 1080): ProxyFault("Name or service not known", is_of_name=True),
            Proxy("192.168.1.9", 1080, icmp="reply"): ProxyFault(
                "Connection refused", is_of_name=False
            ),
        },
        ipv6_refused=frozenset({"192.0.2.1:1080"}),
    ),
    "without the extra web": LAPTOP._replace(lacking_for_web=("starlette", "uvicorn")),
    "no such user": LAPTOP._replace(missing_users=frozenset({"tunrouter"})),
}
