"""The kernel's choice of a route, against an obviously right slow one."""

from __future__ import annotations

from ipaddress import ip_address

from hypothesis import given, settings
from hypothesis import strategies as st

from router.policy.network import Network, RouteKind, SystemRoute, TableLookup
from router.policy.routes.fib import Choice, Fib, PlannedRoutes
from router.policy.routes.route import Label, Route
from tests.unit.check.networks import route
from tests.unit.examples import examples

PROPERTIES = settings(max_examples=examples(300))
BITS = 4
KINDS = (RouteKind.UNICAST, RouteKind.UNICAST, RouteKind.LOCAL, RouteKind.THROW)


def block(length: int, number: int) -> tuple[int, int]:
    """A prefix of at most BITS bits."""
    return number >> (BITS - length) << (32 - length), length


blocks = st.builds(block, st.integers(0, BITS), st.integers(0, (1 << BITS) - 1))
system_routes = st.builds(
    lambda prefix, table, metric, kind, ours: SystemRoute(
        4, prefix[0], prefix[1], f"if{metric}", None, metric, table, ours, kind
    ),
    blocks,
    st.sampled_from([254, 52, 255]),
    st.integers(0, 3),
    st.sampled_from(KINDS),
    st.booleans(),
)
planned_routes = st.lists(blocks, max_size=6, unique=True).map(
    lambda prefixes: sorted(Route(4, *prefix, Label(1500)) for prefix in prefixes)
)
lookups = st.lists(
    st.builds(
        TableLookup, st.just(4), st.just(0), st.sampled_from([254, 52, 255]), st.integers(-1, 2)
    ),
    max_size=4,
)


def holds(first: int, length: int, address: int) -> bool:
    return address >> (32 - length) == first >> (32 - length)


def slow_choice(network: Network, planned: list[Route], address: int) -> Choice:
    for lookup in network.lookups:
        candidates: list[tuple[int, int, int, Route | SystemRoute]] = [
            (each.length, 0, -each.metric, each)
            for each in network.routes
            if each.table == lookup.table and not each.ours
        ]
        if lookup.table == 254:
            candidates += [(each.length, 1, 0, each) for each in planned]
        matching = [each for each in candidates if holds(each[3].first, each[3].length, address)]
        if matching:
            found = max(matching, key=lambda each: each[:3])[3]
            is_throw = isinstance(found, SystemRoute) and found.kind is RouteKind.THROW
            if not is_throw and found.length > lookup.ignored_length:
                return found
    return None


@PROPERTIES
@given(st.lists(system_routes, max_size=8), planned_routes, lookups)
def test_the_choice_is_that_of_a_linear_search(
    routes: list[SystemRoute], planned: list[Route], steps: list[TableLookup]
) -> None:
    network = Network(routes=tuple(routes), lookups=tuple(steps))
    fib = Fib(network, PlannedRoutes(planned))
    for number in range(1 << BITS):
        address = number << (32 - BITS) | 77
        chosen, expected = fib.lookup(4, address), slow_choice(network, planned, address)
        assert type(chosen) is type(expected)
        assert chosen is None or expected is None or chosen[:4] == expected[:4]


@PROPERTIES
@given(planned_routes, blocks)
def test_planned_routes_inside_and_around(planned: list[Route], prefix: tuple[int, int]) -> None:
    first, length = prefix
    index = PlannedRoutes(planned)
    inside = [each for each in planned if each.length >= length and holds(*prefix, each.first)]
    assert list(index.inside(4, first, length)) == inside
    around = [
        each for each in planned if each.length < length and holds(each.first, each.length, first)
    ]
    expected = max(around, key=lambda each: each.length, default=None)
    assert index.match(4, first, below=length) == expected


def test_a_full_tunnel_of_wg_quick_is_looked_up_after_the_main_table() -> None:
    """`lookup main suppress_prefixlength 0`, then the tunnel's table, then main."""
    network = Network(
        routes=(route("0.0.0.0/0 eth0 192.0.2.1"), route("0.0.0.0/0 wg0", 51820)),
        lookups=(
            TableLookup(4, 32764, 254, 0),
            TableLookup(4, 32765, 51820),
            TableLookup(4, 32766, 254),
        ),
    )
    ours = Route(4, int(ip_address("198.51.100.0")), 24, Label(1500))
    fib = Fib(network, PlannedRoutes([ours]))
    assert fib.lookup(4, int(ip_address("198.51.100.9"))) == ours
    elsewhere = fib.lookup(4, int(ip_address("8.8.8.8")))
    assert isinstance(elsewhere, SystemRoute)
    assert elsewhere.interface == "wg0"
    assert list(fib.before_main(4)) == []
