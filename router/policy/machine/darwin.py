"""Checks of a Mac: its kernel, rights, utun, Local Network Privacy, scoped routes and resolvers.

Sources: TN3179 of Apple's developer documentation (Local Network Privacy); docs/macos.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import ip_network
from typing import Final

from router.policy.findings.wording import prefixes, some
from router.policy.machine.facts import Facts, Resolver, TunDevice
from router.policy.machine.network import as_results
from router.policy.machine.result import Result, Status
from router.policy.network import Interface
from router.policy.prefixes import format_address
from router.policy.proxies import known_servers

SOURCES: Final = (24, 4)
"""The kernel whose sources this was written from: macOS 15.4."""
PRIVACY_SINCE: Final = 24
"""Darwin 24 is macOS 15."""
UTUN_REMEDY: Final = "restart the Mac; a kernel without com.apple.net.utun_control is not known"
PRIVACY_REMEDY: Final = (
    "start it in Terminal, by ssh or as the service (`tunrouter service launchd`), or write 'user: "
    "root' into the rules"
)


def kernel(facts: Facts) -> Result:
    numbers = ".".join(map(str, SOURCES))
    return Result(
        "kernel",
        Status.WARNING,
        f"Darwin {facts.machine.release}: written from the sources of Darwin {numbers}, and run on "
        "no Mac yet",
        "docs/macos.md says what has been proven, and how the workflow is run on a Mac",
    )


def rights(facts: Facts) -> Result:
    if facts.machine.is_root:
        return Result("rights", Status.OK, "root, which `run` needs")
    return Result(
        "rights",
        Status.WARNING,
        "this user is not root, which `run` needs",
        "sudo tunrouter run; and sudo tunrouter selftest, which sees more",
    )


def utun(facts: Facts) -> Result:
    if facts.machine.tun is TunDevice.USABLE:
        return Result("utun", Status.OK, "the kernel makes utun devices")
    return Result("utun", Status.MISSING, "the kernel makes no utun devices", UTUN_REMEDY)


def local_network(facts: Facts) -> Result:
    """Whom it keeps from hosts on the link: not root, launchd's daemons, and what Terminal or sshd
    have started. The router runs as another user."""
    if facts.machine.kernel[0] < PRIVACY_SINCE:
        return Result("local-network", Status.OK, "macOS before 15 has no Local Network Privacy")
    bitten = list(_on_the_link(facts))
    if bitten:
        return Result(
            "local-network",
            Status.WARNING,
            f"Local Network Privacy may refuse the router {some(bitten)} ('No route to host')",
            PRIVACY_REMEDY,
        )
    return Result(
        "local-network",
        Status.OK,
        "Local Network Privacy concerns hosts on the link alone"
        + (", to which no rule and no proxy leads" if facts.situation else ""),
    )


def _on_the_link(facts: Facts) -> Iterator[str]:
    """What rules lead to on the links of interfaces with neighbours."""
    if facts.situation is None:
        return
    for server in known_servers(facts.situation.config):
        if any(_has_on_link(each, server.version, server.address) for each in _links(facts)):
            where = format_address(server.version, server.address)
            yield f"the proxy {where} of '{server.policy}'"
    for route in facts.situation.plan.routes:
        captured = ip_network((route.first, route.length))
        for each in _links(facts):
            networks = [address.network for address in each.addresses]
            if any(captured.version == n.version and captured.overlaps(n) for n in networks):
                yield f"{prefixes([route[:3]])} on {each.name}"


def _links(facts: Facts) -> Sequence[Interface]:
    present = facts.network.interfaces
    return [present[name] for name in _interfaces(facts) if present[name].asks_neighbours]


def _interfaces(facts: Facts) -> list[str]:
    """Those of the ways out."""
    names = dict.fromkeys(each.interface for each in facts.ways if each.interface is not None)
    return [name for name in names if name in facts.network.interfaces]


def _has_on_link(interface: Interface, version: int, address: int) -> bool:
    return any(
        each.version == version
        and int(each.network.network_address) <= address <= int(each.network.broadcast_address)
        for each in interface.addresses
    )


def ipv6(facts: Facts) -> Result:
    if any(6 in way.sources for way in facts.ways):
        return Result("ipv6", Status.OK, "there is a way out for it")
    return Result(
        "ipv6",
        Status.WARNING,
        "no way out has a global IPv6 address: what rules send there is refused",
        "connect to a network that has it, if it is wanted",
    )


def scoped_routes(facts: Facts) -> Result:
    """Tunnels of other programs among the ways out: a socket that is bound to one of them needs a
    default route that is scoped to it, or the unscoped one."""
    lacking = []
    for name in _interfaces(facts):
        interface = facts.network.interfaces[name]
        has = facts.machine.scoped_defaults.get(name, frozenset())
        versions: set[int] = {
            each.version for each in interface.addresses if not each.is_link_local
        }
        if not interface.asks_neighbours and versions - has:
            lacking.append(name)
    if not lacking:
        return Result("scoped-routes", Status.OK, "every tunnel has a default route of its own")
    return Result(
        "scoped-routes",
        Status.OK,
        f"{', '.join(lacking)}: no default route of its own: `run` adds one that is scoped to it, "
        "which only bound sockets use, and removes it when it ends",
    )


def other_routes(facts: Facts) -> Iterator[Result]:
    """With rules alone: which routes are more specific than those to the TUN."""
    if facts.situation is not None:
        yield from as_results(
            "other-routes",
            facts.situation,
            "route-wins",
            "no route wins against those to the TUN",
        )


def resolvers(facts: Facts) -> Iterator[Result]:
    servers = facts.network.dns_servers
    if not servers:
        yield Result(
            "resolvers",
            Status.WARNING,
            "`scutil --dns` names no DNS server",
            "connect to a network that has one, unless names are resolved in another way",
        )
        return
    shown = ", ".join(format_address(*server) for server in servers)
    special = [_words(each) for each in facts.machine.resolvers if each.domain or each.is_scoped]
    found = f"{shown}; {'; '.join(special)}" if special else shown
    if facts.situation is None:
        yield Result("resolvers", Status.OK, found)
        return
    yield from as_results(
        "resolvers",
        facts.situation,
        "dns-server-captured",
        f"{found}: not captured to another way out",
    )


def _words(resolver: Resolver) -> str:
    servers = ", ".join(format_address(*each) for each in resolver.servers)
    about = resolver.domain or f"what is bound to {resolver.interface}"
    return f"for {about}: {servers}"
