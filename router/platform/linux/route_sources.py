"""Which source address the kernel gives packets by an interface, and the attributes of their route.

Always true: nothing here raises; what cannot be read is no source. Needs no privilege.

Must not know: what the answers are for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address
from itertools import islice
from typing import Final

from router.platform.families import FAMILY
from router.platform.linux.netlink.constants import (
    FRA_DST,
    RTA_DST,
    RTA_OIF,
    RTM_GETROUTE,
    RTM_GETRULE,
    RTN_UNICAST,
)
from router.platform.linux.netlink.dump import dump, rtnetlink, strict_rtnetlink
from router.platform.linux.netlink.messages import RTMSG, U32_ATTRIBUTE
from router.platform.linux.netlink.route_lookup import RouteLookup
from router.policy.cells import (
    MOST_CELLS,
    POLICY_TABLE,
    Block,
    Choice,
    parting_blocks,
    source_ranges,
)
from router.policy.interfaces import usable_interfaces
from router.policy.network import Interface, SourceRange, Sources
from router.policy.prefixes import WIDTHS

KIND: Final[Mapping[int, type[IPv4Address] | type[IPv6Address]]] = {4: IPv4Address, 6: IPv6Address}


def sources_by_interface(
    wanted: Iterable[str], present: Mapping[str, Interface], holders: Mapping[int, str | None]
) -> Sources:
    """Of the interfaces that policies with these `interface:` leave by; `holders` are those of the
    default routes, by IP version."""
    used = {
        (interface.name, version): interface
        for name in wanted
        for version, interface in usable_interfaces(name, present, holders).items()
    }
    return {key: route_sources(key[1], interface) for key, interface in used.items()}


def route_sources(version: int, interface: Interface) -> tuple[SourceRange, ...]:
    """See Facts.sources."""
    only = _only_source(version, interface)
    try:
        with RouteLookup() as lookup:

            def ask(destination: int) -> Choice | None:
                packed = destination.to_bytes(WIDTHS[version] // 8, "big")
                answer = lookup.ask(version, packed, oif=interface.index)
                if answer is None or answer.source is None:
                    return only
                source = KIND[version](answer.source)
                return None if source.is_link_local else (int(source), answer.metrics)

            return source_ranges(version, _boundaries(version, interface), ask)
    except OSError:
        return ()


def _only_source(version: int, interface: Interface) -> Choice | None:
    """The choice where the kernel has no route: a router gives such an interface one before it
    sends. With several addresses it is unknown until then."""
    own = {each.ip for each in interface.addresses if each.version == version}
    able = [address for address in own if not address.is_link_local]
    return (int(able[0]), ()) if len(able) == 1 else None


def _boundaries(version: int, interface: Interface) -> list[Block]:
    """Of the parts of the address space; more than MOST_CELLS are not read. Raises OSError."""
    found = list(islice(_routes(version, interface.index), MOST_CELLS))
    found += _rules(version)
    if version == 6:  # IPv4 takes the source that the route names
        found += POLICY_TABLE
        found += parting_blocks([each for each in interface.addresses if each.version == version])
    return found


def _routes(version: int, index: int) -> Iterator[Block]:
    """The prefixes of the unicast routes by an interface, of all tables. Raises OSError."""
    wanted = U32_ATTRIBUTE.pack(U32_ATTRIBUTE.size, RTA_OIF, index)
    with strict_rtnetlink() as netlink:
        for fields, route in dump(netlink, RTM_GETROUTE, FAMILY[version], RTMSG, wanted):
            _, length, _, _, _, _, _, kind, _ = fields
            if kind == RTN_UNICAST:
                yield int.from_bytes(route.get(RTA_DST, b""), "big"), length


def _rules(version: int) -> Iterator[Block]:
    """The destinations that rules select. Raises OSError."""
    with rtnetlink() as netlink:
        for fields, rule in dump(netlink, RTM_GETRULE, FAMILY[version], RTMSG):
            if FRA_DST in rule:
                yield int.from_bytes(rule[FRA_DST], "big"), fields[1]
