"""Interfaces of policies: missing, down, or without an address or a route that rules need."""

from __future__ import annotations

from collections.abc import Iterator

from router.config.fields import nearest
from router.config.model import DEFAULT_INTERFACE, LENGTH_BITS, Config, Place, Policy, Rule
from router.config.problems import Problem, Severity
from router.policy.findings.situation import Situation, place_of_prefix
from router.policy.findings.wording import plural, prefixes, some
from router.policy.network import Interface, RouteKind
from router.policy.prefixes import HOST_MASKS, LENGTH_MASK, unpack

FAMILIES = (4, 6)
NAMES_SHOWN = 8


def find(situation: Situation) -> Iterator[Problem]:
    """For each policy in the order of the file; what nothing names is told when it is read."""
    named = _named(situation.config)
    for name in situation.outbounds:
        policy = situation.config.policies[name]
        if name not in named or policy.interface is None:
            continue
        if not situation.is_up(name):
            yield _down(situation, policy)
            continue
        for version in FAMILIES:
            interface = situation.outbounds[name].get(version)
            if interface is None:
                yield from _lacking_family(situation, policy, version)
            elif interface.asks_neighbours:
                yield from _lacking_route(situation, policy, version, interface)


def _named(config: Config) -> set[str]:
    """The policies that rules, the default, or the on_down of these lead to."""
    found: set[str] = set()
    waiting = [config.default, *(rule.policy for rule in config.rules)]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [config.policies[name].on_down or "reject"]
    return found


def _down(situation: Situation, policy: Policy) -> Problem:
    interfaces, wanted = situation.network.interfaces, policy.interface or ""
    until = f"until it is there, its traffic goes to '{policy.on_down}'"
    code, why, remedy = "interface-down", f"interface '{wanted}' is not up", until
    if wanted == DEFAULT_INTERFACE:
        code, why = "no-default-route", "no interface holds a default route"
        remedy = f"connect to a network; {until}"
    elif wanted not in interfaces:
        code, why = "missing-interface", f"there is no interface '{wanted}'"
        close = nearest(wanted, list(interfaces))
        hint = f"did you mean '{close}'?" if close else f"there are {_listed(list(interfaces))}"
        remedy = f"{hint} {until}" if close else f"{hint}; {until}"
    elif interfaces[wanted].up:
        why = f"interface '{wanted}' has no address to send from"
    message = f"{why}: '{policy.name}' would start down"
    return Problem(code, Severity.WARNING, policy.interface_place, message, remedy)


def _listed(names: list[str]) -> str:
    more = ["…"] if len(names) > NAMES_SHOWN else []
    return ", ".join(sorted(names)[:NAMES_SHOWN] + more)


def _lacking_family(situation: Situation, policy: Policy, version: int) -> Iterator[Problem]:
    """IPv6 (or IPv4) is sent to a way out that has none."""
    config = situation.config
    users = [
        rule
        for rule in config.rules
        if rule.policy == policy.name and next(rule.packed(version), None) is not None
    ]
    names = sorted({outbound.name for outbound in situation.outbounds[policy.name].values()})
    lack = f"{some(names)} has no IPv{version} address, so '{policy.name}' can't carry"
    remedy = f"send IPv{version} another way, or to 'reject', which tells programs at once"
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
    """A bound packet without a route is taken to be for a neighbour, and no neighbour answers."""
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
            f"'{policy.name}' would look for {plural(count, 'it', 'them')} on its own link",
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
