"""Hand-packed route messages, decoded by pyroute2."""

from __future__ import annotations

import socket

import pytest
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from router.platform.linux.netlink.batch import encode
from router.platform.linux.netlink.constants import NLM_F_ACK, NLM_F_CREATE, RTPROT_TUNROUTER
from router.policy.routes.capture import Route


@pytest.mark.parametrize(
    ("route", "destination"),
    [
        (Route(4, 0xC6336400, 24, 1420), "198.51.100.0"),
        (Route(6, 0x20010DB8 << 96, 32, 1280), "2001:db8::"),
    ],
)
def test_a_route_is_what_pyroute2_reads(route: Route, destination: str) -> None:
    data = encode(route, 17, 3, flags=NLM_F_CREATE | NLM_F_ACK)
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
    assert message.get_attr("RTA_METRICS").get_attr("RTAX_MTU") == route.mtu
    assert message.get_attr("RTA_PRIORITY") == (None if route.version == 4 else 1)


def test_only_the_last_of_a_batch_requests_an_acknowledgement() -> None:
    message = rtmsg(encode(Route(4, 0, 1, 1500), 1, 0, flags=NLM_F_CREATE))
    message.decode()
    assert not message["header"]["flags"] & 0x4
