"""What happens to a packet to one address: the rule, its policy, the outbound, and whether the
kernel sends it into the TUN at all.

Theory of operation. The rules name a policy; the kernel's routes, with the planned ones among them,
decide whether the packet enters the TUN. Where it does not, the system's own routes decide, which
is the meaning of `bypass`: so that is the action, whatever the rule's policy. Interface, source and
next hop are what the kernel answers.

Always true: where the network is not known, the rules alone decide, as if every outbound were up,
and `kernel` states it.

Must not know: how an answer is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from router.config.interfaces import DEFAULT_INTERFACE
from router.config.model import BUILT_IN, PolicyType
from router.policy.explain import Explanation, explain
from router.policy.findings.situation import Situation
from router.policy.kernel import KernelWays, Way
from router.policy.network import RouteKind, SystemRoute
from router.policy.prefixes import format_address, format_prefix
from router.policy.resolve import carrying
from router.policy.routes.fib import Choice
from router.policy.routes.route import Route
from router.wire.ip import ICMP, ICMPV6

Address = IPv4Address | IPv6Address

FORWARD = "forward"
DIRECT = "direct"
RELAYED = "relayed"


@dataclass(frozen=True, slots=True)
class Egress:
    """How a packet leaves the machine; all None where it does not leave."""

    interface: str | None = None
    source: str | None = None
    gateway: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """`policy` is the one named by the rule, `applies` the one in effect (on_down); `kernel` is one
    clause about the kernel's route lookup. `path`: how packets of this machine's programs get to
    the outbound, DIRECT as far as the host's own rules allow it; None where none does."""

    destination: str
    captured: bool
    explanation: Explanation
    policy: str
    applies: str
    action: str
    egress: Egress
    up: bool
    kernel: str
    path: str | None
    proxy: str | None = None
    """The proxy that it is forwarded by."""


def answer(
    situation: Situation,
    ways: KernelWays | None,
    address: Address,
    protocol: int | None = None,
    port: int | None = None,
) -> Answer:
    """What happens to packets to an address; `protocol` and `port` as in `explain`.

    ways: None where no kernel can be asked, as where the network is not readable.
    """
    version, number = address.version, int(address)
    explanation = explain(situation.config, situation.rule_set, version, number, protocol, port)
    choice = _choice(situation, version, number)
    captured = isinstance(choice, Route)
    policy = situation.policy_of(explanation.rule_index)
    is_icmp = protocol in (ICMP, ICMPV6)
    applies = carrying(
        situation.config, policy, lambda name: _may_be_up(situation, name), is_icmp=is_icmp
    )
    action = _action(situation, applies) if captured else PolicyType.BYPASS.value
    if action == PolicyType.BYPASS:
        alone = situation.system_fib.lookup(version, number)
        egress = _as_the_system_does(alone, ways, number)
    elif action == FORWARD:
        egress = _by_outbound(situation, applies, ways, version, number)
    else:
        egress = Egress()
    return Answer(
        str(address),
        captured,
        explanation,
        policy,
        applies,
        action,
        egress,
        situation.config.policies[policy].type in BUILT_IN or _may_be_up(situation, policy),
        _in_words(situation, choice),
        _path(choice) if action == FORWARD and situation.network.readable else None,
        _proxy(situation, applies) if action == FORWARD else None,
    )


def _proxy(situation: Situation, policy: str) -> str | None:
    proxy = situation.config.policies[policy].proxy
    return None if proxy is None else str(proxy)


def _path(choice: Choice) -> str:
    """A route that tells programs the source of their packets leads to the direct path."""
    return DIRECT if isinstance(choice, Route) and choice.source is not None else RELAYED


def _may_be_up(situation: Situation, policy: str) -> bool:
    return situation.is_up(policy) or not situation.network.readable


def _choice(situation: Situation, version: int, address: int) -> Choice:
    if situation.network.readable:
        return situation.fib.lookup(version, address)
    return situation.planned.match(version, address)


def _action(situation: Situation, applies: str) -> str:
    found = situation.config.policies[applies]
    return applies if found.type in BUILT_IN else FORWARD


def _by_outbound(
    situation: Situation, policy: str, ways: KernelWays | None, version: int, address: int
) -> Egress:
    """An outbound without the family sends nothing."""
    facts = situation.proxies.get(policy)
    if facts is not None:
        return Egress(", ".join(facts.interfaces) or None)
    if not situation.network.readable:
        wanted = situation.config.policies[policy].interface
        return Egress(None if wanted == DEFAULT_INTERFACE else wanted)
    interface = situation.interfaces[policy].get(version)
    if interface is None:
        return Egress()
    bound = interface.bound_source(version)
    source = bound.packed if bound else None
    way = ways.way_by(version, address, interface.name, source) if ways else None
    if way is None or way.source is None:
        return Egress(interface.name, str(interface.source(version)))
    return _egress(way)


def _as_the_system_does(choice: Choice, ways: KernelWays | None, address: int) -> Egress:
    if isinstance(choice, SystemRoute) and choice.kind is RouteKind.LOCAL:
        return Egress(choice.interface, format_address(choice.version, address))
    if not isinstance(choice, SystemRoute) or ways is None:
        return Egress()
    way = ways.way(choice.version, address)
    return Egress() if way is None else _egress(way)


def _egress(way: Way) -> Egress:
    return Egress(way.interface, _address(way.source), _address(way.gateway))


def _address(packed: bytes | None) -> str | None:
    return None if packed is None else str(ip_address(packed))


def _in_words(situation: Situation, choice: Choice) -> str:
    if not situation.network.readable:
        return "not known: the routes of this system can't be read"
    if choice is None:
        return "has no route to it: it is unreachable"
    prefix = format_prefix(*choice[:3])
    if isinstance(choice, Route):
        if choice[:3] in situation.installed:
            return f"sends it to the TUN, by our route {prefix}"
        return f"would send it to the TUN, by our route {prefix}, which no router has installed"
    return _of_the_system(choice, f"the system's own route {prefix}")


def _of_the_system(choice: SystemRoute, by: str) -> str:
    match choice.kind:
        case RouteKind.LOCAL:
            return f"delivers it on this machine itself: an address of {choice.interface}"
        case RouteKind.UNICAST:
            return f"sends it out by {choice.interface}, by {by}"
        case RouteKind.BROADCAST | RouteKind.MULTICAST:
            return f"sends it out by {choice.interface}: {choice.kind.value}"
        case _:
            return f"refuses it, by {by}: {choice.kind.value}"
