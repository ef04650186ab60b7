"""Checks of the ways out, of routes of other programs, and of the packet filter."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Final

from router.policy.findings import loops, system
from router.policy.findings.situation import Situation
from router.policy.findings.wording import prefixes
from router.policy.host_rules.model import reverse_path_remedy
from router.policy.machine.arrivals import Arrival, ArrivalChain, Aspect, dropping
from router.policy.machine.facts import LINUX, Facts, WayOut
from router.policy.machine.result import Result, Status
from router.policy.network import LOOPBACKS, SystemRoute
from router.policy.prefixes import FAMILIES, format_address
from router.policy.routes.fib import Fib, PlannedRoutes
from router.wire import ip

NFPROTO: Final = {4: 2, 6: 10}
"""linux/netfilter.h."""
ESTABLISHED, NEW = 2, 8
"""NF_CT_STATE_BIT of linux/netfilter/nf_conntrack_common.h."""
NAME_SIZE: Final = 16
NO_INDEX: Final = 0x7FFF_FFFF
"""Of an interface that is not there yet: equal to no other's."""
SMALLEST_MTU: Final = 1280
"""Of IPv6 (RFC 8200, section 5)."""
FORWARDS: Final = {4: "net/ipv4/ip_forward", 6: "net/ipv6/conf/all/forwarding"}


def ways(facts: Facts) -> Iterator[Result]:
    """A result for each."""
    if not facts.ways and facts.network.readable:
        yield Result(
            "ways",
            Status.MISSING,
            "no interface but lo is up and has an address",
            "connect to a network",
        )
    yield from (_way(facts, way) for way in facts.ways)


def _mtu_command(facts: Facts, interface: str) -> str:
    set_it = "ip link set" if facts.machine.system == LINUX else "ifconfig"
    return f"{set_it} {interface} mtu {SMALLEST_MTU}, or more"


def _way(facts: Facts, way: WayOut) -> Result:
    name = f"way-{way.name}"
    if way.interface is None:
        return Result(
            name, Status.WARNING, way.why, f"until then its traffic goes to '{way.otherwise}'"
        )
    hops = [
        f"IPv{version} from {source} "
        + (f"by the gateway {way.gateways[version]}" if version in way.gateways else "on the link")
        for version, source in sorted(way.sources.items())
    ]
    begin = f"{way.to} by {way.interface}" if way.to else way.interface
    found = f"{begin}: {', '.join([f'MTU {way.mtu}', *hops])}"
    if 6 in way.sources and way.mtu < SMALLEST_MTU:
        return Result(
            name,
            Status.WARNING,
            f"{found}; too small for IPv6",
            _mtu_command(facts, way.interface),
        )
    return Result(name, Status.OK, found)


def firewall(facts: Facts) -> Iterator[Result]:
    """What the packet filter does to answers, and to connections that the router accepts."""
    found = [*_dropped(facts), *_checked_paths(facts)]
    yield from found
    yield from _not_forwarded(facts)
    if found:
        return
    if facts.machine.arrivals is None:
        yield Result(
            "firewall",
            Status.WARNING,
            "whether the packet filter drops answers could not be seen",
            "sudo tunrouter selftest",
        )
    else:
        yield Result("firewall", Status.OK, "the packet filter drops no answers for certain")


def _dropped(facts: Facts) -> Iterator[Result]:
    chains = facts.machine.arrivals or ()
    seen: set[tuple[str, str]] = set()
    for way in facts.ways:
        for version in sorted(way.sources):
            arrival = _arrival(facts, version, way.interface or "", ESTABLISHED)
            chain = dropping(chains, arrival)
            if chain is not None and (chain.words, "answers") not in seen:
                seen.add((chain.words, "answers"))
                yield Result(
                    "firewall",
                    Status.MISSING,
                    f"{chain.words} drops the IPv{version} answers that arrive by {way.interface}",
                    f"let it accept them: {chain.add} ct state established,related accept",
                )
    for version in FAMILIES:
        chain = dropping(chains, _arrival(facts, version, facts.tun_name, NEW, ip.TCP))
        if chain is not None and (chain.words, "connections") not in seen:
            seen.add((chain.words, "connections"))
            yield _no_connections(chain, facts.tun_name, version)


def _no_connections(chain: ArrivalChain, tun: str, version: int) -> Result:
    return Result(
        "firewall-tcp",
        Status.MISSING,
        f"{chain.words} drops the IPv{version} TCP connections that are relayed, which the router "
        f"accepts by {tun}",
        f"let it accept them: {chain.add} iifname {tun} meta l4proto tcp accept",
    )


def _not_forwarded(facts: Facts) -> Iterator[Result]:
    """Packets of other hosts to the TUN, where this machine forwards: one for each chain."""
    seen: set[str] = set()
    out = _identity(facts, facts.tun_name)
    for version, path in FORWARDS.items():
        if facts.setting(path) != "1":
            continue
        for way in facts.ways:
            arrival = _arrival(facts, version, way.interface or "", NEW)
            chain = dropping(facts.machine.forwarded or (), arrival.forwarded_by(*out))
            if chain is not None and chain.words not in seen:
                seen.add(chain.words)
                yield Result(
                    "firewall-forward",
                    Status.WARNING,
                    f"{chain.words} drops the IPv{version} packets of other hosts that arrive by "
                    f"{way.interface} and would be forwarded to {facts.tun_name}",
                    f"as a gateway let it accept: {chain.add} oifname {facts.tun_name} accept; "
                    f"and their answers: {chain.add} iifname {facts.tun_name} accept",
                )


def _arrival(
    facts: Facts, version: int, interface: str, state: int, protocol: int | None = None
) -> Arrival:
    name, index = _identity(facts, interface)
    aspects = {
        Aspect.INTERFACE: name,
        Aspect.INDEX: index,
        Aspect.VERSION: bytes([NFPROTO[version]]),
        Aspect.STATE: state.to_bytes(4, sys.byteorder),
    }
    if protocol is not None:
        aspects[Aspect.PROTOCOL] = bytes([protocol])
    return Arrival(version, aspects)


def _identity(facts: Facts, interface: str) -> tuple[bytes, bytes]:
    """Name and index as a packet filter sees them."""
    present = facts.network.interfaces.get(interface)
    index = NO_INDEX if present is None else present.index
    return interface.encode().ljust(NAME_SIZE, b"\0"), index.to_bytes(4, sys.byteorder)


def _checked_paths(facts: Facts) -> Iterator[Result]:
    for version, clause in sorted(facts.network.host_rules.path_checks.items()):
        yield Result(
            "firewall-path",
            Status.WARNING,
            f"{clause}: so it drops IPv{version} answers",
            reverse_path_remedy(version),
        )


def other_routes(facts: Facts) -> Iterator[Result]:
    """Routes that win against those to the TUN: with rules, as `check` finds them; without, those
    of tables that are looked up before the main one."""
    if facts.situation is not None:
        otherwise = "no route wins against those to the TUN"
        yield from as_results("other-routes", facts.situation, "route-wins", otherwise)
        return
    found = list(_before_main(facts))
    yield from found
    if not found:
        yield Result(
            "other-routes", Status.OK, "no table with routes is looked up before the main one"
        )


def _before_main(facts: Facts) -> Iterator[Result]:
    network = facts.network
    for version in FAMILIES:
        for table in dict.fromkeys(Fib(network, PlannedRoutes(())).before_main(version)):
            routes = [
                route
                for route in network.routes
                if (route.version, route.table) == (version, table) and _leads_elsewhere(route)
            ]
            if routes:
                yield Result(
                    "other-routes",
                    Status.WARNING,
                    f"table {table} is looked up before the main one: its routes to "
                    f"{prefixes([each[:3] for each in routes])} by {_interfaces(routes)} win "
                    "against those to the TUN",
                    f"if that is not meant, end the program that has added it "
                    f"(`ip{' -6' if version == 6 else ''} rule` shows it)",
                )


def _leads_elsewhere(route: SystemRoute) -> bool:
    return (
        not route.ours and route.kind not in system.IN_NO_TUN and route.interface not in LOOPBACKS
    )


def _interfaces(routes: Iterable[SystemRoute]) -> str:
    return ", ".join(dict.fromkeys(each.interface or each.kind.value for each in routes))


def resolvers(facts: Facts) -> Iterator[Result]:
    servers = facts.network.dns_servers
    if not servers:
        yield Result(
            "resolvers",
            Status.WARNING,
            "/etc/resolv.conf names no DNS server",
            "name one there, unless names are resolved in another way",
        )
        return
    shown = ", ".join(format_address(*server) for server in servers)
    if facts.situation is None:
        yield Result("resolvers", Status.OK, shown)
        return
    otherwise = f"{shown}: not captured to another way out"
    yield from as_results("resolvers", facts.situation, "dns-server-captured", otherwise)


def as_results(name: str, situation: Situation, code: str, otherwise: str) -> Iterator[Result]:
    """The findings of a code, about routes or loops."""
    found = [*system.find(situation).problems, *loops.find(situation)]
    problems = [each for each in found if each.code == code]
    for problem in problems:
        yield Result(name, Status.WARNING, problem.message, problem.help)
    if not problems:
        yield Result(name, Status.OK, otherwise)
