"""Hand-packed route messages, decoded by pyroute2."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import pytest
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from router.platform.linux.netlink.batch import encode
from router.platform.linux.netlink.constants import NLM_F_ACK, NLM_F_CREATE, RTPROT_TUNROUTER
from router.platform.linux.netlink.table_entry import TableEntry, entries_of
from router.policy.routes.route import Label, Route

ADVMSS, CC_ALGO = 8, 16
METRICS = ((ADVMSS, (1000).to_bytes(4, "little")), (CC_ALGO, b"cubic\0"))


def entry(route: Route) -> TableEntry:
    return list(entries_of([route]))[-1]


@pytest.mark.parametrize(
    ("route", "destination"),
    [
        (Route(4, 0xC6336400, 24, Label(1420)), "198.51.100.0"),
        (Route(6, 0x20010DB8 << 96, 32, Label(1280)), "2001:db8::"),
        (Route(4, 0xC6336400, 24, Label(1420, 0xC0000202, METRICS)), "198.51.100.0"),
        (Route(6, 0x20010DB8 << 96, 32, Label(1280, 0xFD << 120 | 1, METRICS)), "2001:db8::"),
    ],
)
def test_a_route_is_what_pyroute2_reads(route: Route, destination: str) -> None:
    data = encode(entry(route), 17, 3, flags=NLM_F_CREATE | NLM_F_ACK)
    message = rtmsg(data)
    message.decode()
    assert message["header"]["length"] == len(data)
    assert message["header"]["sequence_number"] == 3
    assert message["header"]["flags"] == 0x1 | 0x4 | 0x400
    assert message["family"] == (socket.AF_INET if route.version == 4 else socket.AF_INET6)
    assert (message["dst_len"], message["proto"], message["type"]) == (
        route.length,
        RTPROT_TUNROUTER,
        1,
    )
    assert message.get_attr("RTA_DST") == destination
    assert message.get_attr("RTA_OIF") == 17
    metrics = message.get_attr("RTA_METRICS")
    assert metrics.get_attr("RTAX_MTU") == route.mtu
    assert metrics.get_attr("RTAX_ADVMSS") == (1000 if route.label.metrics else None)
    assert message.get_attr("RTA_PRIORITY") == (0 if route.version == 4 else 1)
    kind = "" if route.source is None else str(ip_address(route.source))
    assert (message.get_attr("RTA_PREFSRC") or "") == kind


def test_only_the_last_of_a_batch_requests_an_acknowledgement() -> None:
    message = rtmsg(encode(entry(Route(4, 0, 1, Label(1500))), 1, 0, flags=NLM_F_CREATE))
    message.decode()
    assert not message["header"]["flags"] & 0x4


def test_an_ipv4_route_with_a_source_has_a_twin_without() -> None:
    sourced = Label(1500, 1, METRICS)
    routes = [Route(4, 0, 1, sourced), Route(4, 1 << 31, 1, Label(1500)), Route(6, 0, 1, sourced)]
    assert list(entries_of(routes)) == [
        TableEntry(4, 0, 1, Label(1500), 1),
        TableEntry(4, 0, 1, sourced, 0),
        TableEntry(4, 1 << 31, 1, Label(1500), 0),
        TableEntry(6, 0, 1, sourced, 1),
    ]
