"""Interfaces of policies: missing, down, or without an address or a route that rules need."""

from __future__ import annotations

from collections.abc import Iterator

from router.config.model import Config, Place, Policy, Rule
from router.config.packed import LENGTH_BITS
from router.config.problems import Problem, Severity
from router.config.spelling import nearest
from router.policy.findings.situation import Situation, place_of_prefix
from router.policy.findings.wording import plural, prefixes, some
from router.policy.interfaces import Lack, lack_of
from router.policy.network import Interface, RouteKind
from router.policy.prefixes import FAMILIES, HOST_MASKS, LENGTH_MASK, unpack

NAMES_SHOWN = 8

CODES = {
    Lack.DEFAULT_ROUTE: "no-default-route",
    Lack.INTERFACE: "missing-interface",
    Lack.LINK: "interface-down",
    Lack.ADDRESS: "interface-down",
}


def find(situation: Situation) -> Iterator[Problem]:
    """For each policy in the order of the file, apart from unused ones, which config reports."""
    named = named_policies(situation.config)
    for name in situation.interfaces:
        policy = situation.config.policies[name]
        if name not in named or policy.interface is None:
            continue
        if not situation.is_up(name):
            yield _down(situation, policy)
            continue
        for version in FAMILIES:
            interface = situation.interfaces[name].get(version)
            if interface is None:
                yield from _lacking_family(situation, policy, version)
            elif interface.asks_neighbours:
                yield from _lacking_route(situation, policy, version, interface)


def named_policies(config: Config) -> set[str]:
    """The policies that rules, the default, or the on_down and icmp of these lead to."""
    found: set[str] = set()
    waiting = [config.default, *(rule.policy for rule in config.rules)]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            policy = config.policies[name]
            waiting += [policy.on_down or "reject", policy.proxy.icmp if policy.proxy else "reject"]
    return found


def _down(situation: Situation, policy: Policy) -> Problem:
    interfaces, wanted = situation.network.interfaces, policy.interface or ""
    lack = lack_of(wanted, interfaces)
    remedy = f"until it is there, its traffic goes to '{policy.on_down}'"
    if lack is Lack.DEFAULT_ROUTE:
        remedy = f"connect to a network; {remedy}"
    elif lack is Lack.INTERFACE:
        close = nearest(wanted, list(interfaces))
        hint = f"did you mean '{close}'?" if close else f"there are {_listed(list(interfaces))};"
        remedy = f"{hint} {remedy}"
    message = f"{lack.clause(repr(wanted))}: '{policy.name}' would start down"
    return Problem(CODES[lack], Severity.WARNING, policy.interface_place, message, remedy)


def _listed(names: list[str]) -> str:
    more = ["…"] if len(names) > NAMES_SHOWN else []
    return ", ".join(sorted(names)[:NAMES_SHOWN] + more)


def _lacking_family(situation: Situation, policy: Policy, version: int) -> Iterator[Problem]:
    """IPv6 (or IPv4) traffic is sent to an interface without an address of that family."""
    config = situation.config
    users = [
        rule
        for rule in config.rules
        if rule.policy == policy.name and next(rule.packed(version), None) is not None
    ]
    names = sorted({each.name for each in situation.interfaces[policy.name].values()})
    lack = f"{some(names)} has no IPv{version} address, so '{policy.name}' can't carry"
    remedy = f"send IPv{version} to another policy, or to 'reject', which refuses it at once"
    if users:
        packed = [packed for rule in users for packed in rule.packed(version)]
        found = [(version, *unpack(each)) for each in packed[:3]]
        yield Problem(
            "family-missing",
            Severity.WARNING,
            place_of_prefix(users[0], *found[0]),
            f"{lack} {prefixes(found, len(packed))}",
            remedy,
        )
    elif config.default == policy.name:
        message = f"{lack} the IPv{version} that the default sends to it"
        yield Problem("family-missing", Severity.WARNING, config.default_place, message, remedy)


def _lacking_route(
    situation: Situation, policy: Policy, version: int, interface: Interface
) -> Iterator[Problem]:
    """Without a route the kernel resolves the destination as a neighbour, and none answers."""
    routes = [
        (route.first, route.length)
        for route in situation.network.routes
        if route.version == version
        and route.interface == interface.name
        and route.kind is RouteKind.UNICAST
        and not route.ours
    ]
    if (0, 0) in routes:
        return
    count = 0
    shown: list[tuple[int, int, int]] = []
    place: Place | None = None
    for rule in situation.config.rules:
        if rule.policy != policy.name:
            continue
        missed = _uncovered(rule, version, routes)
        if missed and place is None:
            place = place_of_prefix(rule, version, *unpack(missed[0]))
        count += len(missed)
        shown += [(version, *unpack(packed)) for packed in missed[: 3 - len(shown)]]
    if count:
        yield Problem(
            "no-route-by-interface",
            Severity.WARNING,
            place,
            f"{interface.name} has no route to {prefixes(shown, count)}: "
            f"'{policy.name}' would take {plural(count, 'it', 'them')} to be on its own link",
            f"add a route by {interface.name}, with its gateway, or name another policy",
        )


def _uncovered(rule: Rule, version: int, routes: list[tuple[int, int]]) -> list[int]:
    masks = HOST_MASKS[version]
    return [
        packed
        for packed in rule.packed(version)
        if not any(
            length <= packed & LENGTH_MASK and (packed >> LENGTH_BITS) ^ first <= masks[length]
            for first, length in routes
        )
    ]
