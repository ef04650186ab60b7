"""Which routes send prefixes into the utun beside those of other programs.

xnu has one unscoped route for a prefix, and refuses a second with EEXIST (net/radix.c:711,
net/route.c:2414). Where another program has it, both halves are taken. A single address gets a host
route, which may exist beside a network route of full length, and is preferred to it
(net/radix.c:711-720).

Always true: no route of another program is in the way of the plan, and none is to be deleted. What
is wanted is covered, apart from what a more specific route of another program has, as on every
system: a half that has one is left to it. Lost are single addresses alone, for which another
program has a host route.

Must not know: sockets; what was installed before.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from router.platform.darwin.routing_socket import Target
from router.policy.routes.route import Route

WIDTH: Final = {4: 32, 6: 128}


class Plan(NamedTuple):
    """routes: with their MTU. lost: addresses that cannot be captured, as prefixes of full
    length."""

    routes: dict[Target, int]
    lost: list[Target]


def plan_routes(wanted: Sequence[Route], others: Collection[Target]) -> Plan:
    """others: the unscoped routes of other programs."""
    prefixes = {Target(each.version, each.first, each.length) for each in wanted}
    plan = Plan({}, [])
    for route in wanted:
        prefix = Target(route.version, route.first, route.length)
        if prefix.length == WIDTH[prefix.version]:
            _plan_address(prefix, route.mtu, others, plan)
        elif prefix not in others:
            plan.routes[prefix] = route.mtu
        else:
            halves = (half for half in _halves(prefix) if half not in prefixes)
            plan.routes.update((half, route.mtu) for half in halves if half not in others)
    return plan


def _plan_address(address: Target, mtu: int, others: Collection[Target], plan: Plan) -> None:
    """A host route of another program is preferred to whatever could be added."""
    host = address._replace(is_host=True)
    if host in others:
        plan.lost.append(address)
    elif address in others:
        plan.routes[host] = mtu
    else:
        plan.routes[address] = mtu


def _halves(prefix: Target) -> tuple[Target, Target]:
    length = prefix.length + 1
    second = prefix.first | 1 << (WIDTH[prefix.version] - length)
    return prefix._replace(length=length), prefix._replace(first=second, length=length)
