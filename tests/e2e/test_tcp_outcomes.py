"""The error of an application's connect(): the same as without a router, from the same host.

For each failure of a connection there are two far hosts that cause it, one captured and one not.
"""

from __future__ import annotations

import errno
import select
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e import sockets
from tests.e2e.capture import Capture
from tests.e2e.netns import Namespace
from tests.e2e.testbed import FAMILIES, V4, Family, Testbed
from tests.e2e.tunrouter import rules
from tests.e2e.wait import wait_until

PORT = 4242
RULES = rules(
    *(
        f"{family.far(first + host)} -> {policy}"
        for family in FAMILIES
        for first, policy in ((0x20, "home"), (0x40, "office"))
        for host in range(16)
    )
)
pytestmark = [
    pytest.mark.rules(RULES),
    pytest.mark.usefixtures("router"),
]

ROUTE_FAILURES = ("unreachable", "prohibit")
"""Kinds of routes by which the gateway refuses."""
FILTERS = {
    "reset": "tcp dport {port} reject with tcp reset",
    "port-unreachable": "tcp dport {port} reject with {icmp} port-unreachable",
    "host-unreachable": "tcp dport {port} reject with {icmp} {host}",
    "prohibited": "tcp dport {port} reject with {icmp} admin-prohibited",
    "no-route": "tcp dport {port} reject with {icmp} {net}",
    "silence": "tcp dport {port} drop",
}
PORTS = {name: PORT + number for number, name in enumerate(FILTERS)}
CAPTURED, BARE = 0x21, 0x31
OFFICE, BARE_OFFICE = 0x41, 0x51
"""By the VPN: by a rule, and by a route of the router's machine, from whose address alone the VPN
accepts packets."""
CLIENTS = pytest.mark.parametrize(
    ("client", "captured", "bare"),
    [
        ("client", CAPTURED, BARE),
        ("router", CAPTURED, BARE),
        ("client", OFFICE, BARE),
        ("router", OFFICE, BARE_OFFICE),
    ],
    ids=["client-direct", "router-direct", "client-vpn", "router-vpn"],
)


@pytest.fixture(scope="module", autouse=True)
def failing(bed: Testbed) -> Iterator[None]:
    """Far hosts to which connections fail, each with another error."""
    lines = ["table inet failing {", " chain forward {", "  type filter hook forward priority 0;"]
    for family in FAMILIES:
        ip = "ip" if family.version == 4 else "ip6"
        words = (
            {"icmp": "icmp type", "host": "host-unreachable", "net": "net-unreachable"}
            if family.version == 4
            else {"icmp": "icmpv6 type", "host": "addr-unreachable", "net": "no-route"}
        )
        nets = f"{ip} daddr {family.far_net} "
        lines += [
            "  " + nets + rule.format(port=PORTS[name], **words) for name, rule in FILTERS.items()
        ]
    text = "\n".join([*lines, " }", "}"]) + "\n"
    kinds = list(enumerate(ROUTE_FAILURES))
    routes = [
        f"{kind} {family.far(host + 2 + number)}"
        for family in FAMILIES
        for number, kind in kinds
        for host in (CAPTURED, BARE, OFFICE, BARE_OFFICE)
    ]
    by_vpn = [
        f"{family.far(BARE_OFFICE + host)} dev wg0" for family in FAMILIES for host in range(4)
    ]
    for namespace in (bed.gw, bed.vpn):
        namespace.run("nft", "-f", "-", stdin=text)
        namespace.ip(*(f"route add {route}" for route in routes))
    bed.router.ip(*(f"route add {route}" for route in by_vpn))
    yield
    bed.router.ip(*(f"route del {route}" for route in by_vpn))
    for namespace in (bed.gw, bed.vpn):
        namespace.ip(*(f"route del {route}" for route in routes))
        namespace.run("nft", "delete", "table", "inet", "failing")


def outcome(
    bed: Testbed, family: Family, host: int, port: int = 9, client: Namespace | None = None
) -> str:
    try:
        sockets.connected(client or bed.client, family, family.far(host), port).close()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "success"


def outcomes(
    bed: Testbed, family: Family, targets: Sequence[tuple[int, int]], client: Namespace
) -> list[str]:
    """Those of several hosts and ports, tried at a time: an error that comes before connect() waits
    is noted at the next request only, a second later."""

    def of(target: tuple[int, int]) -> str:
        return outcome(bed, family, *target, client)

    with ThreadPoolExecutor(len(targets)) as at_a_time:
        return list(at_a_time.map(of, targets))


def errors_seen(capture: Capture, family: Family, host: int) -> set[tuple[str, str]]:
    """(Sender, text) of the ICMP errors about a host, without the host's address.

    A set: an error that arrives while connect() has not returned yet is noted at the next request.
    """
    seen = capture.packets()
    name = family.far(host)
    return {(one.source, one.text.replace(name, "HOST")) for one in seen if name in one.text}


def test_success(bed: Testbed, family: Family) -> None:
    with sockets.listener(bed.far) as listener:
        for host in (CAPTURED, BARE):
            assert outcome(bed, family, host, sockets.port_of(listener)) == "success"


@CLIENTS
def test_every_outbound_from_every_client(
    bed: Testbed, family: Family, client: str, captured: int, bare: int
) -> None:
    """A closed port, and every refusal on the path, by a packet filter or for want of a route: the
    same error as on the bare path."""
    namespace: Namespace = getattr(bed, client)
    targets = [
        (0, 9),
        *((0, port) for name, port in PORTS.items() if name != "silence"),
        *((2 + number, 9) for number in range(len(ROUTE_FAILURES))),
    ]
    ours, kernel = (
        outcomes(bed, family, [(first + offset, port) for offset, port in targets], namespace)
        for first in (captured, bare)
    )
    assert ours == kernel
    assert kernel[0] == "ECONNREFUSED"
    assert "success" not in kernel


@pytest.mark.parametrize("kind", [name for name in FILTERS if name != "silence"])
def test_refused_by_a_packet_filter_on_the_way(bed: Testbed, family: Family, kind: str) -> None:
    with Capture(bed.client) as capture:
        ours = outcome(bed, family, CAPTURED, PORTS[kind])
        bare = outcome(bed, family, BARE, PORTS[kind])
        assert ours == bare != "success"
        assert errors_seen(capture, family, CAPTURED) == errors_seen(capture, family, BARE)


@pytest.mark.parametrize("kind", ROUTE_FAILURES)
def test_a_router_on_the_way_that_has_no_route(bed: Testbed, family: Family, kind: str) -> None:
    offset = 2 + ROUTE_FAILURES.index(kind)
    with Capture(bed.client) as capture:
        ours = outcome(bed, family, CAPTURED + offset)
        bare = outcome(bed, family, BARE + offset)
        assert ours == bare != "success"
        expected = errors_seen(capture, family, BARE + offset)
        assert errors_seen(capture, family, CAPTURED + offset) == expected
        assert {sender for sender, _ in expected} == {family.gateway}


def test_silence_stays_silence(bed: Testbed, family: Family) -> None:
    """The application repeats its request and goes on waiting; it gets no answer."""
    port = PORTS["silence"]
    waiting = [sockets.stream(bed.client, family) for _ in range(2)]
    try:
        with Capture(bed.client, f"tcp port {port}") as capture:
            for sock, host in zip(waiting, (CAPTURED, BARE), strict=True):
                sock.setblocking(False)
                assert sock.connect_ex((family.far(host), port)) == errno.EINPROGRESS

            def three_requests_each() -> bool:
                destinations = [packet.destination for packet in capture.packets()]
                names = [f"{family.far(host)}.{port}" for host in (CAPTURED, BARE)]
                return all(destinations.count(name) >= 3 for name in names)

            wait_until(three_requests_each, "three requests each")
            assert select.select(waiting, waiting, waiting, 0) == ([], [], [])
            assert {packet.direction for packet in capture.packets()} == {"Out"}
    finally:
        for sock in waiting:
            sock.close()


def test_a_dial_ends_after_its_client_has_closed(bed: Testbed) -> None:
    """The router gives up soon after the application has, long before TCP itself would."""
    port = PORTS["silence"]
    with sockets.stream(bed.client, V4) as waiting:
        waiting.setblocking(False)
        waiting.connect_ex((V4.far(CAPTURED), port))
        wait_until(lambda: _dialer(bed, port), "the router to dial")
    wait_until(lambda: not _dialer(bed, port), "the router to stop dialling")


def _dialer(bed: Testbed, port: int) -> bool:
    shown = bed.router.run("ss", "-Htn", "state", "syn-sent", f"( dport = :{port} )").stdout
    return bool(shown.strip())
