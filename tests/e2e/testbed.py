"""The network that the end-to-end tests run in: five namespaces and a real WireGuard tunnel.

    client      router            gw                  far
    a LAN host  tunrouter         the home gateway    hosts a hop behind
                runs here
    +------+    +-----------+     +-------------+     +--------------------+
    | lan0 +-(a)+ lan0 eth0 +-(b)-+ home0  far0 +-(c)-+ home0              |
    +------+    |      wg0  |     |        vpn0 |     | 198.51.100.0/24    |
                +-------+---+     +---------+---+     | 2001:db8:100::/64  |
                        :                  (d)        |   both paths       |
                        :         vpn       |         | 198.18.0.0/24      |
                        :         +---------+---+     | 2001:db8:18::/64   |
                       (f)        |         gw0 |     |   "office": by the |
                        :.........+ wg0    far0 +-(e)-+ vpn0   VPN alone   |
                                  +-------------+     +--------------------+

    (a) 10.1.0.0/24     fd01::/64          client .2, router .1
    (b) 192.0.2.0/24    2001:db8:2::/64    router .2, gw .1
    (c) 10.2.0.0/24     fd02::/64          gw .1, far .2
    (d) 203.0.113.0/24  2001:db8:113::/64  gw .1, vpn .2
    (e) 10.3.0.0/24     fd03::/64          vpn .1, far .2
    (f) 10.8.0.0/24     fd08::/64          WireGuard, carried over (b) and (d): router .2, vpn .1

Always true:
- A destination is a hop behind its gateway, gw and vpn answer ARP for their own addresses alone,
  and nothing translates addresses: a packet that leaves by the wrong interface is not answered.
- `far` sees by interface and source which path a packet took: (home0, 192.0.2.2) is the home
  network, (vpn0, 10.8.0.2) the VPN, (home0, 10.1.0.2) a client's packet that was not translated.
- Router's default routes lead to gw; wg0 has no default route, neither IPv4 nor IPv6.
- Nothing reaches the machine's own network, and close() leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.e2e import netns
from tests.e2e.netns import Namespace, unique_prefix
from tests.e2e.wait import wait_until
from tests.e2e.wireguard import WireGuard

WIREGUARD_PORT = 51820


@dataclass(frozen=True)
class Family:
    """The addresses of one IP version."""

    version: int
    client: str
    lan: str
    eth0: str
    gateway: str
    wg0: str
    vpn_wg0: str
    vpn_outside: str
    tun: str
    tun_peer: str
    far_net: str
    office_net: str
    every: str

    def far(self, host: int) -> str:
        """A far host, reachable through the home network and through the VPN."""
        return _host(self.far_net, host)

    def office(self, host: int) -> str:
        """A far host that only the VPN reaches."""
        return _host(self.office_net, host)

    @property
    def host_bits(self) -> int:
        return 32 if self.version == 4 else 128

    def __str__(self) -> str:
        return f"IPv{self.version}"


V4 = Family(
    version=4,
    client="10.1.0.2",
    lan="10.1.0.1",
    eth0="192.0.2.2",
    gateway="192.0.2.1",
    wg0="10.8.0.2",
    vpn_wg0="10.8.0.1",
    vpn_outside="203.0.113.2",
    tun="192.168.7.1",
    tun_peer="192.168.7.2",
    far_net="198.51.100.0/24",
    office_net="198.18.0.0/24",
    every="0.0.0.0/0",
)
V6 = Family(
    version=6,
    client="fd01::2",
    lan="fd01::1",
    eth0="2001:db8:2::2",
    gateway="2001:db8:2::1",
    wg0="fd08::2",
    vpn_wg0="fd08::1",
    vpn_outside="2001:db8:113::2",
    tun="fd77::1",
    tun_peer="fd77::2",
    far_net="2001:db8:100::/64",
    office_net="2001:db8:18::/64",
    every="::/0",
)
FAMILIES = (V4, V6)


class Testbed:
    """The namespaces by name, and the two ends of the tunnel."""

    __test__ = False  # not a test, whatever pytest makes of the name

    def __init__(self) -> None:
        prefix = unique_prefix()
        self.client = Namespace(f"{prefix}-client")
        self.router = Namespace(f"{prefix}-router")
        self.gw = Namespace(f"{prefix}-gw")
        self.vpn = Namespace(f"{prefix}-vpn")
        self.far = Namespace(f"{prefix}-far")
        self.namespaces = (self.client, self.router, self.gw, self.vpn, self.far)
        self.router_wg = WireGuard(self.router, "wg0", ("10.8.0.2/24", "fd08::2/64 nodad"))
        self.vpn_wg = WireGuard(self.vpn, "wg0", ("10.8.0.1/24", "fd08::1/64 nodad"))

    def open(self) -> None:
        netns.create(*self.namespaces)
        for namespace in self.namespaces:
            _set_up_sysctls(namespace)
        self._connect()
        for namespace in self.namespaces:
            namespace.ip(*self._addresses(namespace), *self._routes(namespace))
        self._open_vpn()

    def close(self) -> None:
        """Removes everything, also after open() has failed."""
        self.router_wg.close()
        self.vpn_wg.close()
        netns.delete(*self.namespaces)

    def open_tunnel(self, endpoint: str = V4.vpn_outside) -> None:
        """Brings up the router's end of the VPN, by that address of its far end, and waits for the
        handshake."""
        self.router_wg.open()
        self.shake_hands(endpoint)

    def shake_hands(self, endpoint: str = V4.vpn_outside) -> None:
        """Makes the two ends of the VPN each other's peers and waits until packets pass."""
        host = f"[{endpoint}]" if ":" in endpoint else endpoint
        self.vpn_wg.add_peer(self.router_wg.public_key, (f"{V4.wg0}/32", f"{V6.wg0}/128"))
        self.router_wg.add_peer(
            self.vpn_wg.public_key,
            (V4.every, V6.every),
            endpoint=f"{host}:{WIREGUARD_PORT}",
        )
        self.router.run("ping", "-c1", "-w", "20", V4.vpn_wg0)
        wait_until(lambda: self.router_wg.has_handshake, "the WireGuard handshake")

    def close_tunnel(self) -> None:
        """Takes the router's end down: wg0 disappears from the router."""
        self.router_wg.close()

    def _connect(self) -> None:
        links = (
            (self.client, "lan0", self.router, "lan0"),
            (self.router, "eth0", self.gw, "home0"),
            (self.gw, "far0", self.far, "home0"),
            (self.gw, "vpn0", self.vpn, "gw0"),
            (self.vpn, "far0", self.far, "vpn0"),
        )
        netns.join(*links)
        ends = [(link[0], link[1]) for link in links] + [(link[2], link[3]) for link in links]
        for namespace in self.namespaces:
            own = (name for within, name in ends if within is namespace)
            namespace.ip(*(f"link set {name} up" for name in ("lo", *own)))

    def _addresses(self, namespace: Namespace) -> Iterator[str]:
        for within, interface, v4, v6 in (
            (self.client, "lan0", "10.1.0.2/24", "fd01::2/64"),
            (self.router, "lan0", "10.1.0.1/24", "fd01::1/64"),
            (self.router, "eth0", "192.0.2.2/24", "2001:db8:2::2/64"),
            (self.gw, "home0", "192.0.2.1/24", "2001:db8:2::1/64"),
            (self.gw, "far0", "10.2.0.1/24", "fd02::1/64"),
            (self.gw, "vpn0", "203.0.113.1/24", "2001:db8:113::1/64"),
            (self.vpn, "gw0", "203.0.113.2/24", "2001:db8:113::2/64"),
            (self.vpn, "far0", "10.3.0.1/24", "fd03::1/64"),
            (self.far, "home0", "10.2.0.2/24", "fd02::2/64"),
            (self.far, "vpn0", "10.3.0.2/24", "fd03::2/64"),
        ):
            if within is namespace:
                yield f"addr add {v4} dev {interface}"
                yield f"addr add {v6} dev {interface} nodad"

    def _routes(self, namespace: Namespace) -> Iterator[str]:
        for within, to, via in (
            (self.client, "default default", "10.1.0.1 fd01::1"),
            (self.router, "default default", "192.0.2.1 2001:db8:2::1"),
            (self.gw, "10.1.0.0/24 fd01::/64", "192.0.2.2 2001:db8:2::2"),
            (self.gw, "198.51.100.0/24 2001:db8:100::/64", "10.2.0.2 fd02::2"),
            (self.vpn, "default default", "203.0.113.1 2001:db8:113::1"),
            (self.vpn, "198.51.100.0/24 2001:db8:100::/64", "10.3.0.2 fd03::2"),
            (self.vpn, "198.18.0.0/24 2001:db8:18::/64", "10.3.0.2 fd03::2"),
            (self.far, "default default", "10.2.0.1 fd02::1"),
            (self.far, "10.8.0.0/24 fd08::/64", "10.3.0.1 fd03::1"),
        ):
            if within is namespace:
                yield from _routes(to, via)
        if namespace is self.far:
            for family in FAMILIES:
                for net in (family.far_net, family.office_net):
                    yield f"route add local {net} dev lo"

    def _open_vpn(self) -> None:
        # The listening side first: a handshake that finds no listener is only repeated after 5 s.
        self.vpn_wg.open()
        self.vpn_wg.listen(WIREGUARD_PORT)
        self.open_tunnel()


@contextmanager
def opened_testbed() -> Iterator[Testbed]:
    """A test bed for the length of a with block, removed whatever happens."""
    bed = Testbed()
    try:
        bed.open()
        yield bed
    finally:
        bed.close()


def _set_up_sysctls(namespace: Namespace) -> None:
    """Forwarding, strict ARP and addresses that are usable at once, before any link appears."""
    namespace.sysctl(
        ipv4__ip_forward=1,
        ipv6__conf__all__forwarding=1,
        ipv4__conf__all__rp_filter=0,
        ipv4__conf__default__rp_filter=0,
        ipv4__conf__all__arp_ignore=1,
        ipv4__conf__all__accept_redirects=0,
        ipv4__conf__all__send_redirects=0,
        ipv4__conf__default__send_redirects=0,
        ipv6__conf__all__accept_dad=0,
        ipv6__conf__default__accept_dad=0,
        ipv6__conf__default__accept_ra=0,
        ipv6__conf__default__router_solicitations=0,
        # Ours to control: many tests send many errors and echo requests on purpose.
        ipv4__icmp_ratelimit=0,
        ipv6__icmp__ratelimit=0,
        # Nor the limit of the whole machine, which other beds use up: it applies to no type for
        # IPv4, and to one that does not occur for IPv6.
        ipv4__icmp_ratemask=0,
        ipv6__icmp__ratemask=200,
    )


def _routes(to: str, via: str) -> list[str]:
    """One route a family; both arguments are an IPv4 and an IPv6 value."""
    pairs = zip(to.split(), via.split(), strict=True)
    return [f"route add {net} via {gateway}" for net, gateway in pairs]


def _host(net: str, host: int) -> str:
    prefix = net.partition("/")[0]
    return f"{prefix}{host:x}" if ":" in prefix else f"{prefix.removesuffix('.0')}.{host}"
