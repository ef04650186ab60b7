"""Captured addresses that outbounds and name resolution depend on: endpoints of VPNs, default
gateways, DNS servers.

The sockets of a VPN program are bound to no interface, so the kernel routes its packets like those
of any program. Captured by the policy whose interface is that VPN, they would be encapsulated
again and again. Where the endpoint can be read (WireGuard), the plan excludes it, and a note
reports it. Where it can't (OpenVPN), the user has to add a rule.
"""

from __future__ import annotations

from collections.abc import Iterator

from router.config.model import Config, PolicyType
from router.config.problems import Problem, Severity
from router.policy.findings.situation import Situation, captures, covering_place
from router.policy.findings.wording import rule
from router.policy.network import TABLE_MAIN, Endpoint, Network, ProxyServer, RouteKind, SystemRoute
from router.policy.prefixes import WIDTHS, format_address
from router.wire.ip import ICMP, ICMPV6, UDP

DNS_PORT = 53


def find(situation: Situation) -> Iterator[Problem]:
    """Endpoints first: without them there is no VPN."""
    yield from find_endpoint_problems(situation)
    yield from _gateways(situation)
    yield from _dns_servers(situation)


def find_endpoint_problems(situation: Situation) -> Iterator[Problem]:
    """Endpoints of VPNs that rules do not forward, each once; and VPNs that get all traffic and
    whose endpoint is not known."""
    for endpoint in dict.fromkeys(situation.network.endpoints):
        if not situation.enters_tun(endpoint.version, endpoint.address):
            continue
        index = situation.decide(endpoint.version, endpoint.address, UDP, endpoint.port)
        if situation.policy_of(index) in ("reply", "drop", "reject"):
            yield _cut_off(situation, endpoint, index)
    yield from _unknown_endpoints(situation)


def _unknown_endpoints(situation: Situation) -> Iterator[Problem]:
    """None where endpoints could not be read, which `Network.unread` reports."""
    network = situation.network
    if not network.endpoints_read:
        return
    known = {endpoint.interface for endpoint in network.endpoints}
    reported: set[str] = set()
    for version in WIDTHS:
        index = _rule_for_everything(situation.config, version)
        policy = situation.config.policies[situation.policy_of(index)]
        interface = situation.interfaces.get(policy.name, {}).get(version)
        if (
            policy.type is PolicyType.VPN
            and interface is not None
            and interface.name not in known | reported
            and not _has_host_route(network, interface.name)
        ):
            reported.add(interface.name)
            yield _unknown(situation, interface.name, index, version)


def _rule_for_everything(config: Config, version: int) -> int:
    """The first rule for all addresses of a family and all traffic; 0: the default is."""
    for each in config.rules:
        whole = any(prefix.version == version and not prefix.length for prefix in each.prefixes)
        if whole and not each.conditional:
            return each.index
    return 0


def _has_host_route(network: Network, tunnel: str) -> bool:
    """Whether one address has a route by a gateway outside the tunnel, as VPN programs add it for
    their server; it is more specific than ours."""
    return any(
        route.length == WIDTHS[route.version]
        and route.gateway is not None
        and route.interface != tunnel
        and route.table == TABLE_MAIN
        for route in network.routes
    )


def _unknown(situation: Situation, interface: str, index: int, version: int) -> Problem:
    family = "" if version == 4 else " (IPv6)"
    return Problem(
        "endpoint-unknown",
        Severity.WARNING,
        covering_place(situation.config, index, version, 0),
        f"{rule(situation.config, index)} sends everything{family} into "
        f"'{situation.policy_of(index)}', and the server of {interface} is not known: without a "
        "route of their own its packets would be sent into the VPN again, a loop",
        f"put {{cidr: SERVER, policy: bypass}}, with the address of the server of {interface}, "
        + (f"before {rule(situation.config, index)}" if index else "at the end of the rules"),
    )


def _cut_off(situation: Situation, endpoint: Endpoint, index: int) -> Problem:
    where = format_address(endpoint.version, endpoint.address)
    return Problem(
        "endpoint-cut-off",
        Severity.WARNING,
        covering_place(situation.config, index, endpoint.version, endpoint.address),
        f"{where} is the endpoint of {endpoint.interface}, and {rule(situation.config, index)} "
        f"sends it to '{situation.policy_of(index)}': the VPN would lose its server",
        _bypass(where, situation, index),
    )


def _gateways(situation: Situation) -> Iterator[Problem]:
    """Default gateways that the kernel would route into the TUN."""
    gateways = {
        (route.version, route.gateway, route.interface): None
        for route in situation.network.routes
        if not route.length
        and route.gateway is not None
        and route.table == TABLE_MAIN
        and route.kind is RouteKind.UNICAST
        and not route.ours
    }
    for version, address, interface in gateways:
        if address is None or not situation.enters_tun(version, address):
            continue
        index = situation.decide(version, address, ICMP if version == 4 else ICMPV6, 0)
        where = format_address(version, address)
        yield Problem(
            "gateway-captured",
            Severity.WARNING,
            covering_place(situation.config, index, version, address),
            f"{where} is the default gateway by {interface}, and "
            f"{rule(situation.config, index)} sends its traffic to "
            f"'{situation.policy_of(index)}'",
            _bypass(where, situation, index),
        )


def _dns_servers(situation: Situation) -> Iterator[Problem]:
    for version, address, index in _captured_dns_servers(situation):
        if _same_interface(situation, version, address, index):
            continue
        where = format_address(version, address)
        yield Problem(
            "dns-server-captured",
            Severity.WARNING,
            covering_place(situation.config, index, version, address),
            f"{where} is a DNS server of this system, and {rule(situation.config, index)} sends "
            f"it to '{situation.policy_of(index)}': all names would be looked up that way, or "
            "not at all",
            f"if that is not meant: {_bypass(where, situation, index)}",
        )


def notes(situation: Situation) -> Iterator[str]:
    """Endpoints that the plan excludes; captured DNS servers whose queries would leave by the same
    interface as without the router."""
    for endpoint in situation.plan.exempt:
        yield exemption(endpoint)
    for server in situation.plan.proxies:
        yield exemption_of_proxy(server)
    for version, address, index in _captured_dns_servers(situation):
        if _same_interface(situation, version, address, index):
            where, policy = format_address(version, address), situation.policy_of(index)
            yield f"the DNS server {where} goes to '{policy}', by the same interface as now"


def exemption(endpoint: Endpoint) -> str:
    """One sentence, without a full stop, about an endpoint that the plan excludes."""
    where = format_address(endpoint.version, endpoint.address)
    return (
        f"{where} bypasses the TUN whatever the rules say: it is the endpoint of "
        f"{endpoint.interface}"
    )


def exemption_of_proxy(server: ProxyServer) -> str:
    """Likewise about a proxy."""
    where = format_address(server.version, server.address)
    return (
        f"{where} bypasses the TUN whatever the rules say: it is the proxy of '{server.policy}', "
        "which has no 'via'"
    )


def _captured_dns_servers(situation: Situation) -> Iterator[tuple[int, int, int]]:
    """(version, address, rule)."""
    for version, address in situation.network.dns_servers:
        if situation.enters_tun(version, address):
            index = situation.decide(version, address, UDP, DNS_PORT)
            if captures(situation.policy_of(index)):
                yield version, address, index


def _same_interface(situation: Situation, version: int, address: int, index: int) -> bool:
    now = situation.system_fib.lookup(version, address)
    return isinstance(now, SystemRoute) and situation.leaves_by(
        situation.policy_of(index), now.interface
    )


def _bypass(where: str, situation: Situation, index: int) -> str:
    shown = f'"{where}"' if ":" in where else where
    before = f"before {rule(situation.config, index)}" if index else "at the end of the rules"
    return f"put {{cidr: {shown}, policy: bypass}} {before}"
