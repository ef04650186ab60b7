"""No packet of a VPN's goes elsewhere, from the moment the routes are there until they are gone.

A LAN host, or programs on the router's machine, whose packets leave directly, ping, send datagrams
and connect to addresses that the VPN alone should carry, all the time, from before the start until
after the end. Of each kind and address, the packets leave the
machine by themselves before the start, go into the TUN from one moment on, and leave by themselves
again from one moment on after the end: what lies in between, whatever happens there, is never seen
on the home network, be the VPN up or down at the start, at reloads and at the end.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from ipaddress import ip_network
from itertools import pairwise
from pathlib import Path
from typing import Final

import pytest

from tests.e2e import ping, sockets
from tests.e2e.capture import Capture, Seen
from tests.e2e.netns import Namespace
from tests.e2e.testbed import FAMILIES, Family, Testbed
from tests.e2e.tunrouter import HEAD, TUN, Tunrouter, rules, running
from tests.e2e.udp import ECHO, SERVER
from tests.e2e.wait import wait_until

pytestmark = [
    pytest.mark.usefixtures("reopened_tunnel"),
    pytest.mark.parametrize("sender", ["client", "router"], ids=["lan", "direct"]),
]

TRAFFIC: Final = str(Path(__file__).with_name("traffic.py"))
KINDS: Final = {"ICMP": "icmp", "UDP": "udp", "Flags": "tcp"}
"""What tcpdump prints for each, and its name."""

GONE: Final = "?"
"""What tcpdump calls an interface that is gone by the time it prints: wg0 or the TUN."""


def halves(net: str) -> list[str]:
    return [str(half) for half in ip_network(net).subnets()]


RULES: Final = rules(*(f"{family.office_net} -> office" for family in FAMILIES))
TWO: Final = HEAD + "  two: {type: vpn, interface: wg0}\n"
OTHERS: Final = (
    rules("203.0.113.7 -> drop", *(f"{family.office_net} -> office" for family in FAMILIES)),
    rules(*(f"{family.office(1)} -> office" for family in FAMILIES)),
    rules(*(f"{family.office(1)} -> two" for family in FAMILIES), head=TWO),
    rules("203.0.113.7 -> bypass", default="office"),
    rules(*(f"{each} -> office" for family in FAMILIES for each in halves(family.office_net))),
    RULES,
)
"""By all of them the VPN carries those addresses: with the same routes, narrower ones, wider ones,
more of them; by another policy; by the default."""
EXPRESSION: Final = " or ".join(f"dst net {family.office_net}" for family in FAMILIES)


def test_no_packet_of_a_vpn_goes_elsewhere(bed: Testbed, tmp_path: Path, sender: str) -> None:
    with _nothing_leaks(bed, tmp_path, getattr(bed, sender)) as router:
        _wait_for_new_packets(bed, "wg0")
        _lose_and_return(bed, router)
        for text in OTHERS:
            assert router.reload(text).startswith("reloaded")
            _wait_for_new_packets(bed, "wg0")
        _lose_and_return(bed, router)


def test_no_packet_of_a_vpn_that_is_down_goes_elsewhere(
    bed: Testbed, tmp_path: Path, sender: str
) -> None:
    """From the start to the end, and at each reload in between; once it is up meanwhile, and down
    again."""
    bed.close_tunnel()
    with _nothing_leaks(bed, tmp_path, getattr(bed, sender)) as router:
        assert "policy office: down" in router.log
        _expect_refusals(bed)
        for text in OTHERS:
            assert router.reload(text).startswith("reloaded")
            _wait_for_new_packets(bed, TUN)
            _expect_refusals(bed)
        bed.open_tunnel()
        _wait_for_new_packets(bed, "wg0")
        _lose(bed, router)
        _wait_for_new_packets(bed, TUN)


@contextmanager
def _nothing_leaks(bed: Testbed, directory: Path, sender: Namespace) -> Iterator[Tunrouter]:
    """A router under traffic, from its start to its end: while it is ready nothing passes
    the home gateway, and no kind of packet leaves by itself between its first in the TUN and its
    last."""
    with (
        _traffic(bed, sender),
        Capture(bed.router, EXPRESSION) as at_router,
        Capture(bed.gw, EXPRESSION) as at_gateway,
    ):
        _wait_for_all(bed, at_router, "eth0")
        with running(bed.router, directory, RULES) as router:
            leaked = len(at_gateway.on("home0"))
            _wait_for_all(bed, at_router, TUN)
            yield router
            assert len(at_gateway.on("home0")) == leaked
        _wait_for_all(bed, at_router, "eth0")
        seen = at_router.packets()
    for stream in _streams(seen):
        assert {one.interface for one in stream} <= {"eth0", TUN, "wg0", GONE}, "nor by any other"
        path = [one.interface for one in stream if one.interface in ("eth0", TUN)]
        changes = [now for then, now in pairwise(path) if then != now]
        assert changes == [TUN, "eth0"], "into the TUN at the start, out of it at the end"


def _lose_and_return(bed: Testbed, router: Tunrouter) -> None:
    """In between, pings are refused."""
    _lose(bed, router)
    _expect_refusals(bed)
    bed.open_tunnel()
    _wait_for_new_packets(bed, "wg0")


def _lose(bed: Testbed, router: Tunrouter) -> None:
    bed.close_tunnel()
    router.wait_until_down("office")


def _expect_refusals(bed: Testbed) -> None:
    for family in FAMILIES:
        assert ping.refused(bed.client, family.office(1)).prohibited == 3


@contextmanager
def _traffic(bed: Testbed, sender: Namespace) -> Iterator[None]:
    with sockets.listener(bed.far) as listener, ExitStack() as stack:
        port = sockets.port_of(listener)
        server = bed.far.start(sys.executable, SERVER, str(ECHO), "53", "8")
        stack.enter_context(closing(server))
        for family in FAMILIES:
            address = family.office(1)
            argv = [sys.executable, TRAFFIC, address, str(ECHO), str(port)]
            stack.enter_context(closing(sender.start(*argv))).wait_for_output("sending")
            stack.enter_context(closing(ping.start(sender, address, "-i", "0.01")))
        yield


def _streams(packets: list[Seen]) -> list[list[Seen]]:
    """What goes to each address, by its kind."""
    return [
        [
            one
            for one in packets
            if one.direction == "Out" and word in one.text and _is_for(family, one)
        ]
        for family in FAMILIES
        for word in KINDS
    ]


def _is_for(family: Family, packet: Seen) -> bool:
    return packet.destination.rpartition(".")[0] == family.office(1) or (
        packet.destination == family.office(1)
    )


def _wait_for_new_packets(bed: Testbed, interface: str) -> None:
    with Capture(bed.router, EXPRESSION) as capture:
        _wait_for_all(bed, capture, interface)


def _wait_for_all(bed: Testbed, capture: Capture, interface: str) -> None:
    """From now on, of each kind and address."""
    before = len(capture.packets())

    def everything_seen() -> bool:
        new = capture.packets()[before:]
        return all(any(one.interface == interface for one in each) for each in _streams(new))

    wait_until(everything_seen, f"all kinds of packets by {interface}")
