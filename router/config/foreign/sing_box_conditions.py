"""The conditions of one rule of sing-box, by group.

A rule matches where each of its groups does: (names or addresses) and (ports) and the others. The
groups of the only rule of a rule set are merged with those of the rule that names the set.

Source: sing-box, route/rule/rule_abstract.go; sing, common/network/addr.go; its decisions, 1.14.4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from router.config.cidr import Cidr
from router.config.document import Node
from router.config.foreign.conditions import (
    PROTOCOLS,
    Combiner,
    UntranslatableError,
    everything,
    host_or_network,
    port_ranges,
)
from router.config.foreign.model import Match, Ports
from router.config.foreign.nodes import number, words
from router.config.foreign.rule_words import (
    BY_CONTENT,
    BY_DATABASE,
    BY_ENTRANCE,
    BY_NAME,
    BY_PROGRAM,
    BY_SOURCE,
    BY_STATE,
)

NAMES: Final = ("domain", "domain_suffix", "domain_keyword", "domain_regex", "geosite")
ADDRESSES: Final = ("ip_cidr", "ip_is_private", "geoip")
PORTS: Final = ("port", "port_range")
ACTION: Final = ("action", "outbound", "method", "no_drop")
STRUCTURE: Final = ("type", "invert", "mode", "rules")
CONDITIONS: Final = frozenset((*NAMES, *ADDRESSES, *PORTS, "network", "ip_version", "rule_set"))
UNDERSTOOD: Final = CONDITIONS | {*ACTION, *STRUCTURE}

REASONS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("inbound", "auth_user"), BY_ENTRANCE),
    **dict.fromkeys(("protocol", "client", "query_type"), BY_CONTENT),
    **dict.fromkeys(
        (
            *("process_name", "process_path", "process_path_regex", "package_name"),
            *("package_name_regex", "user", "user_id"),
        ),
        BY_PROGRAM,
    ),
    **dict.fromkeys(
        (
            *("source_ip_cidr", "source_ip_is_private", "source_geoip", "source_port"),
            *("source_port_range", "source_mac_address", "source_hostname"),
            *("rule_set_ip_cidr_match_source", "rule_set_ipcidr_match_source"),
        ),
        BY_SOURCE,
    ),
    **dict.fromkeys(
        (
            *("clash_mode", "network_type", "network_is_expensive", "network_is_constrained"),
            *("wifi_ssid", "wifi_bssid", "interface_address", "network_interface_address"),
            *("default_interface_address", "preferred_by"),
        ),
        BY_STATE,
    ),
}
PRIVATE: Final = (
    *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "169.254.0.0/16"),
    *("224.0.0.0/4", "fc00::/7", "::1/128", "fe80::/10", "ff00::/8"),
)
"""What `ip_is_private` matches."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Groups:
    """None: the rule has no condition of that group. A group of names alone is an empty one of
    networks, as names never match a connection to a bare address."""

    networks: tuple[Cidr, ...] | None = None
    ports: Ports | None = None
    others: tuple[Match, ...] = (Match(),)

    def merged(self, other: Groups, combiner: Combiner) -> Groups:
        """Raises UntranslatableError."""
        return Groups(
            _union(self.networks, other.networks),
            _union(self.ports, other.ports),
            combiner.both(self.others, other.others),
        )

    def matches(self, combiner: Combiner) -> tuple[Match, ...]:
        """Raises UntranslatableError."""
        if self.networks == ():
            return ()
        return combiner.both((Match(self.networks, self.ports),), self.others)


def read_groups(found: dict[str, Node]) -> Groups:
    """Of the fields that are set. Raises UntranslatableError for a condition that no rule here can
    have, unless another one of its group may do."""
    for key in sorted(found.keys() - UNDERSTOOD):
        raise UntranslatableError(f"{key}: {REASONS.get(key, 'it is not known here')}")
    networks = None
    if found.keys() & {*NAMES, *ADDRESSES}:
        written = [each.text for each in words(found.get("ip_cidr"))]
        written += PRIVATE if "ip_is_private" in found else ()
        networks = tuple(host_or_network(each) for each in written)
    ports = None
    if found.keys() & {*PORTS}:
        ports = _ports(found, "port", "-") + _ports(found, "port_range", ":")
    return Groups(networks, ports, (_others(found),))


def left_out(found: dict[str, Node]) -> list[tuple[str, str]]:
    """Names and countries, which stand beside networks as alternatives: (field, why)."""
    reasons = {**dict.fromkeys(NAMES, BY_NAME), "geosite": BY_DATABASE, "geoip": BY_DATABASE}
    return [(key, reasons[key]) for key in found if key in reasons]


def shown(found: dict[str, Node]) -> str:
    """A rule, as a note has it: its fields."""
    parts = []
    for key, node in found.items():
        values = [each.text for each in words(node)]
        some = ", ".join(values[:3]) + (", …" if len(values) > 3 else "")
        parts.append(f"{key} {some}".strip())
    return "; ".join(parts)


def _ports(found: dict[str, Node], key: str, separator: str) -> Ports:
    if key not in found:
        return ()
    return port_ranges((each.text for each in words(found[key])), separator)


def _others(found: dict[str, Node]) -> Match:
    """Of `network` and `ip_version`."""
    match = Match()
    if "network" in found:
        protocols = frozenset(each.text for each in words(found["network"]))
        if not protocols or protocols - PROTOCOLS:
            raise UntranslatableError("network: it is not known here")
        match = replace(match, protocols=protocols)
    if "ip_version" in found:
        version = number(found["ip_version"])
        if version not in (4, 6):
            raise UntranslatableError("ip_version is neither 4 nor 6")
        match = replace(match, networks=everything(version).networks)
    return match


def _union(
    left: tuple[Item, ...] | None, right: tuple[Item, ...] | None
) -> tuple[Item, ...] | None:
    if left is None or right is None:
        return right if left is None else left
    return left + right
