"""The first rules.yaml of a machine: a policy for each way out that it has, and what leads into its
VPNs now as rules that are comments.

A VPN is an interface that is up, has an address and resolves no neighbours. The default way is
`interface: default`, unless a VPN holds the default route: then it is the interface with the best
default route of all others.

Always true: what is written passes `check`, also once the comments before rules are taken away.

Must not know: how a system is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from router.config.environment_proxy import NamedProxy, OtherProxy
from router.config.interfaces import DEFAULT_INTERFACE, interface_fault
from router.config.ranges import split_range
from router.config.writing import (
    comment,
    flow_sequence,
    modeline,
    policy_name,
    scalar,
    server_text,
    variable_name,
)
from router.policy.interfaces import usable_interfaces
from router.policy.network import LOOPBACKS, Interface, Network, RouteKind, SystemRoute
from router.policy.prefixes import FAMILIES, HOST_MASKS, WIDTHS, format_prefix, join_ranges

OTHER_TUNNELS: Final = ("tap", "zt", "feth", "utun", "tailscale")
"""Beginnings of the names of VPN interfaces that resolve neighbours all the same."""
IN_A_RULE: Final = 4
MOST_SHOWN: Final = 64
"""Networks of one VPN; its rules are an example from there on."""
LINK_LOCAL: Final = {4: (0xA9FE0000, 16), 6: (0xFE80 << 112, 10)}
MULTICAST: Final = {4: (0xE0000000, 4), 6: (0xFF << 120, 8)}
SAMPLES: Final = ("203.0.113.0/24", "198.51.100.0/24")
"""For the default way and for a proxy: documentation networks (RFC 5737)."""

HEAD: Final = """\
# Written by `tunrouter init` for this machine. Rules are comments as yet: take the '# ' away before
# those that are to hold, or write others. Then: tunrouter check, and sudo tunrouter run.
version: 1
"""


@dataclass(slots=True)
class _File:
    """policies: the text of each, by name. rules: lines, all of them comments."""

    policies: dict[str, str] = field(default_factory=dict)
    rules: list[str] = field(default_factory=list)

    def add_policy(self, wanted: str, otherwise: str, text: str, remark: str) -> str:
        """The name that it has got."""
        name = policy_name(wanted, otherwise, self.policies)
        self.policies[name] = f"{text}  {comment(remark)}"
        return name

    def text(self) -> str:
        lines = [modeline(), HEAD, "policies:"]
        lines += (f"  {name}: {text}" for name, text in self.policies.items())
        lines += ["", "rules:  # the first that matches decides"]
        lines += (f"  {line}" for line in self.rules)
        lines += ["", "default: bypass  # what no rule matches: as without tunrouter", ""]
        return "\n".join(lines)


def first_rules(network: Network, proxy: NamedProxy | OtherProxy | None) -> str:
    """The text of the file. `network` must be readable."""
    file = _File()
    tunnels = [each for each in _ways(network) if _is_tunnel(each)]
    names = {each.name for each in tunnels}
    home = _home(file, network, names)
    _others(file, network, names, home)
    for tunnel in tunnels:
        _vpn(file, network, tunnel)
    _proxy(file, proxy)
    return file.text()


def _ways(network: Network) -> Iterator[Interface]:
    """Interfaces that packets can leave by."""
    for name, interface in network.interfaces.items():
        usable = usable_interfaces(name, network.interfaces, {})
        if usable and name not in LOOPBACKS | network.own_tuns and interface_fault(name) is None:
            yield interface


def _is_tunnel(interface: Interface) -> bool:
    return not interface.asks_neighbours or interface.name.startswith(OTHER_TUNNELS)


def _home(file: _File, network: Network, tunnels: set[str]) -> str | None:
    """Adds the policy of the default way; the interface that it is now."""
    holders = [network.default_holders.get(version) for version in FAMILIES]
    held = [name for name in holders if name is not None]
    if held and not tunnels.intersection(held):
        names = list(dict.fromkeys(held))
        remark = f"now {', '.join(_described(network, name) for name in names)}"
        interface, now = DEFAULT_INTERFACE, names[0]
    else:
        candidates = [name for name in _with_default(network) if name not in tunnels]
        if not candidates:
            file.policies["home"] = "{type: direct, interface: default}  " + comment(
                "there is no default route now: down until there is one"
            )
            return None
        now = interface = candidates[0]
        remark = f"{_described(network, now)}; a VPN holds the default route"
    text = f"{{type: direct, interface: {scalar(interface)}}}"
    name = file.add_policy("home", "home", text, remark)
    file.rules.append(f"# - {{cidr: {SAMPLES[0]}, policy: {name}}}")
    return now


def _with_default(network: Network) -> list[str]:
    """Interfaces with a default route, the best first."""
    ways = {each.name for each in _ways(network)}
    found = [
        (route.metric, route.interface)
        for route in network.routes
        if _counts(route) and not route.length and route.interface in ways
    ]
    return list(dict.fromkeys(name for _, name in sorted(found)))


def _others(file: _File, network: Network, tunnels: set[str], home: str | None) -> None:
    """Further interfaces with a default route."""
    holders = set(network.default_holders.values())
    for name in _with_default(network):
        if name not in tunnels and name != home and name not in holders:
            text = f"{{type: direct, interface: {scalar(name)}}}"
            file.add_policy(name, "interface", text, _described(network, name))


def _vpn(file: _File, network: Network, tunnel: Interface) -> None:
    text = f"{{type: vpn, interface: {scalar(tunnel.name)}, on_down: reject}}"
    name = file.add_policy(tunnel.name, "vpn", text, _described(network, tunnel.name))
    leading = [route for route in network.routes if _leads_into(route, tunnel)]
    networks = list(_networks(leading))
    if not networks:
        return
    file.rules.append(comment(f"what the system's routes send into {tunnel.name} now:"))
    shown = networks[:MOST_SHOWN]
    for begin in range(0, len(shown), IN_A_RULE):
        cidr = flow_sequence(shown[begin : begin + IN_A_RULE])
        file.rules.append(f"# - {{cidr: {cidr}, policy: {name}}}")
    if len(networks) > len(shown):
        more = len(networks) - len(shown)
        file.rules.append(comment(f"and {more:,} more, as the system's table of routes has them"))


def _leads_into(route: SystemRoute, tunnel: Interface) -> bool:
    if route.interface != tunnel.name or not _counts(route):
        return False
    return not any(
        route.length >= length and not (route.first ^ first) >> (WIDTHS[route.version] - length)
        for first, length in (LINK_LOCAL[route.version], MULTICAST[route.version])
    )


def _counts(route: SystemRoute) -> bool:
    return route.kind is RouteKind.UNICAST and not route.ours


def _networks(routes: Iterable[SystemRoute]) -> Iterator[str]:
    """The fewest networks: two halves are everything."""
    for version in FAMILIES:
        spans = sorted(
            (route.first, route.first | HOST_MASKS[version][route.length])
            for route in routes
            if route.version == version
        )
        for first, last in join_ranges(_apart(spans)):
            for block in split_range(first, last, WIDTHS[version]):
                yield format_prefix(version, *block)


def _apart(spans: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Without what lies in the one before; networks overlap in no other way."""
    end = -1
    for first, last in spans:
        if last > end:
            yield first, last
            end = last


def _proxy(file: _File, proxy: NamedProxy | OtherProxy | None) -> None:
    if isinstance(proxy, OtherProxy):
        file.rules.append(comment(f"{proxy.variable} names a proxy: {proxy.why}"))
    if not isinstance(proxy, NamedProxy):
        return
    login = ""
    if proxy.username is not None:
        variable = variable_name("proxy")
        login = f", username: {scalar(proxy.username)}, password_env: {variable}"
        remark = f"the router needs {variable}, or password_file: FILE in its place: the password"
        file.rules.append(comment(f"{remark} of {proxy.variable} is not written here"))
    server = scalar(server_text(proxy.host, proxy.port))
    text = f"{{type: socks5, server: {server}{login}}}"
    name = file.add_policy("proxy", "proxy", text, f"as {proxy.variable} has it")
    file.rules.append(f"# - {{cidr: {SAMPLES[1]}, policy: {name}}}")


def _described(network: Network, name: str) -> str:
    """An interface with its addresses."""
    interface = network.interfaces.get(name)
    sources = [interface.source(version) for version in FAMILIES] if interface else []
    found = " and ".join(str(each) for each in sources if each is not None)
    return f"{name} from {found}" if found else name
