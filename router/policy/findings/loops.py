"""What keeps the ways out and the names alive, and must not be captured: endpoints of VPNs, the
default gateway, DNS servers.

A VPN's own packets are bound to nothing, so the kernel routes them like any program's. Captured by
the policy whose interface is that VPN, they would be wrapped again and again.
"""

from __future__ import annotations

from collections.abc import Iterator

from router.config.problems import Problem, Severity
from router.policy.findings.situation import Situation, captures, covering_place
from router.policy.findings.wording import rule
from router.policy.network import TABLE_MAIN, Endpoint, RouteKind, SystemRoute
from router.policy.prefixes import format_address
from router.wire.ip import ICMP, ICMPV6, UDP

DNS_PORT = 53


def find(situation: Situation) -> Iterator[Problem]:
    """Endpoints first: a loop there is an error."""
    yield from find_endpoint_loops(situation)
    yield from _gateways(situation)
    yield from _dns_servers(situation)


def find_endpoint_loops(situation: Situation) -> Iterator[Problem]:
    """Endpoints of VPNs that rules capture, each once."""
    for endpoint in dict.fromkeys(situation.network.endpoints):
        if not situation.enters_tun(endpoint.version, endpoint.address):
            continue
        index = situation.decide(endpoint.version, endpoint.address, UDP, endpoint.port)
        policy = situation.policy_of(index)
        if situation.leaves_by(policy, endpoint.interface):
            yield _loop(situation, endpoint, index)
        elif policy in ("reply", "drop", "reject"):
            yield _cut_off(situation, endpoint, index)


def _loop(situation: Situation, endpoint: Endpoint, index: int) -> Problem:
    where = format_address(endpoint.version, endpoint.address)
    return Problem(
        "endpoint-loop",
        Severity.ERROR,
        covering_place(situation.config, index, endpoint.version, endpoint.address),
        f"{where} is the endpoint of {endpoint.interface} itself, and "
        f"{rule(situation.config, index)} sends it into '{situation.policy_of(index)}', "
        f"which leaves by {endpoint.interface}: a loop",
        _bypass(where, situation, index),
    )


def _cut_off(situation: Situation, endpoint: Endpoint, index: int) -> Problem:
    where = format_address(endpoint.version, endpoint.address)
    return Problem(
        "endpoint-cut-off",
        Severity.WARNING,
        covering_place(situation.config, index, endpoint.version, endpoint.address),
        f"{where} is the endpoint of {endpoint.interface}, and {rule(situation.config, index)} "
        f"gives it to '{situation.policy_of(index)}': the VPN would be cut off",
        _bypass(where, situation, index),
    )


def _gateways(situation: Situation) -> Iterator[Problem]:
    """Default gateways that the kernel would look for in the TUN."""
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
            f"{rule(situation.config, index)} sends what is for it to "
            f"'{situation.policy_of(index)}'",
            _bypass(where, situation, index),
        )


def _dns_servers(situation: Situation) -> Iterator[Problem]:
    for version, address, index in _captured_dns_servers(situation):
        if _goes_as_before(situation, version, address, index):
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
    """DNS servers that are captured and still leave by the interface that they leave by now."""
    for version, address, index in _captured_dns_servers(situation):
        if _goes_as_before(situation, version, address, index):
            where, policy = format_address(version, address), situation.policy_of(index)
            yield f"the DNS server {where} goes to '{policy}', by the same interface as now"


def _captured_dns_servers(situation: Situation) -> Iterator[tuple[int, int, int]]:
    """(version, address, rule)."""
    for version, address in situation.network.dns_servers:
        if situation.enters_tun(version, address):
            index = situation.decide(version, address, UDP, DNS_PORT)
            if captures(situation.policy_of(index)):
                yield version, address, index


def _goes_as_before(situation: Situation, version: int, address: int, index: int) -> bool:
    now = situation.kernel_alone.choose(version, address)
    return isinstance(now, SystemRoute) and situation.leaves_by(
        situation.policy_of(index), now.interface
    )


def _bypass(where: str, situation: Situation, index: int) -> str:
    shown = f'"{where}"' if ":" in where else where
    before = f"before {rule(situation.config, index)}" if index else "at the end of the rules"
    return f"put {{cidr: {shown}, policy: bypass}} {before}"
