"""What `check` and a reload know about the proxies of policies, without a connection to them.

Must not know: how a name is resolved, what a proxy answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum

from router.config.model import Config, Policy
from router.policy.interfaces import OutboundFacts, UsableInterfaces, facts_of_interfaces
from router.policy.network import ProxyServer
from router.wire.ip import IPV4_HEADER, IPV6_HEADER
from router.wire.socks5 import UDP_HEADER


class ProxyLack(StrEnum):
    """What a proxy was found not to do, as a clause about it."""

    UDP = "carries no UDP"
    IPV4 = "refuses IPv4 destinations"
    IPV6 = "refuses IPv6 destinations"
    EARLY = "says that it has connected before it knows"

    @property
    def consequence(self) -> str:
        """A clause about what is done."""
        return _CONSEQUENCES[self]


_REFUSED = "they are refused at once, and the proxy asked again after a minute"
_CONSEQUENCES = {
    ProxyLack.UDP: "it is refused at once, and the proxy asked again after a minute",
    ProxyLack.IPV4: _REFUSED,
    ProxyLack.IPV6: _REFUSED,
    ProxyLack.EARLY: "what is not there looks accepted, and is reset when the proxy ends it",
}

USUAL_MTU = 1500
"""Of the way to a proxy, where that is the system's own."""


def overhead(server: int, version: int) -> int:
    """By how many bytes a packet of an IP version is smaller than that which carries it to a proxy
    at an address of the version `server`."""
    headers = {4: IPV4_HEADER, 6: IPV6_HEADER}
    return headers[server] + UDP_HEADER[version] - headers[version]


def known_servers(config: Config) -> Iterator[ProxyServer]:
    """The proxies without a `via`, at their own addresses or those that their names have."""
    for name, policy in config.policies.items():
        proxy = policy.proxy
        if proxy is None or proxy.via is not None:
            continue
        own = proxy.address
        for address in proxy.resolved if own is None else (own.packed,):
            version = 4 if len(address) == 4 else 6
            yield ProxyServer(name, version, int.from_bytes(address, "big"), proxy.port)


def facts_of_proxies(
    config: Config, interfaces: Mapping[str, UsableInterfaces]
) -> dict[str, OutboundFacts]:
    """Of the policies whose proxy has a way; interfaces: of the others."""
    found = {}
    for name, policy in config.policies.items():
        facts = _facts(config, policy, interfaces)
        if facts is not None:
            found[name] = facts
    return found


def _facts(
    config: Config, policy: Policy, interfaces: Mapping[str, UsableInterfaces]
) -> OutboundFacts | None:
    proxy = policy.proxy
    if proxy is None:
        return None
    address = proxy.address
    server = 4 if address is None else address.version
    way: OutboundFacts | None = OutboundFacts(USUAL_MTU, ())
    if proxy.via is not None:
        via = config.policies[proxy.via]
        way = (
            _facts(config, via, interfaces)
            if via.proxy is not None
            else facts_of_interfaces(interfaces.get(via.name, {}))
        )
    if way is None:
        return None
    return OutboundFacts(way.mtu - max(overhead(server, each) for each in (4, 6)), way.interfaces)
