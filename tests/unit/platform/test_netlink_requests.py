"""Requests of netlink, compared byte by byte with what pyroute2 makes of the same values."""

from __future__ import annotations

import errno
import socket
from ipaddress import ip_address, ip_interface
from typing import Any

import pytest
from pyroute2.netlink.rtnl.fibmsg import fibmsg
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from router.platform.linux.netlink.addresses import Address, add_address, delete_address
from router.platform.linux.netlink.constants import (
    IFLA_IFNAME,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLMSG_ERROR,
    RT_SCOPE_LINK,
    RTM_DELADDR,
    RTM_DELROUTE,
    RTM_DELRULE,
    RTM_GETLINK,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWROUTE,
    RTM_NEWRULE,
    RTN_UNICAST,
    RTPROT_KERNEL,
    RTPROT_TUNROUTER,
)
from router.platform.linux.netlink.links import (
    Link,
    get_link,
    get_link_named,
    parse_link,
    parse_queues,
    set_link,
)
from router.platform.linux.netlink.messages import Message, interface_name, pack_attribute
from router.platform.linux.netlink.request import Request, refusal, request
from router.platform.linux.netlink.rules import Rule, add_rule, delete_rule
from router.platform.linux.netlink.single_routes import SingleRoute, add_route, delete_route

HEADER = 16
NEW = NLM_F_CREATE | NLM_F_EXCL
TABLE = 0x74750003
FAMILIES = pytest.mark.parametrize("family", [int(socket.AF_INET), int(socket.AF_INET6)])


def encoded(kind: Any, attributes: list[tuple[str, Any]], **fields: Any) -> bytes:
    """What follows the header of a message of pyroute2."""
    message = kind()
    for name, value in fields.items():
        message[name] = value
    message["attrs"] = [list(each) for each in attributes]
    message.encode()
    return bytes(message.data[HEADER:])


def test_links() -> None:
    assert get_link(7) == Request(RTM_GETLINK, 0, encoded(ifinfmsg, [], index=7))
    named = encoded(ifinfmsg, [("IFLA_IFNAME", "tun11")])
    assert get_link_named("tun11") == Request(RTM_GETLINK, 0, named)
    size = encoded(ifinfmsg, [("IFLA_MTU", 1400), ("IFLA_TXQLEN", 4096)], index=7)
    assert set_link(7, mtu=1400, txqlen=4096) == Request(RTM_NEWLINK, 0, size)
    renamed = encoded(ifinfmsg, [("IFLA_IFNAME", "tun11")], index=7)
    assert set_link(7, name="tun11") == Request(RTM_NEWLINK, 0, renamed)
    for up in (True, False):
        state = encoded(ifinfmsg, [], index=7, flags=int(up), change=1)
        assert set_link(7, up=up) == Request(RTM_NEWLINK, 0, state)


def test_the_answer_about_a_link() -> None:
    attributes = [("IFLA_IFNAME", "tun11"), ("IFLA_TXQLEN", 500), ("IFLA_MTU", 1400)]
    body = encoded(ifinfmsg, attributes, index=7, flags=0x1091)
    assert parse_link(body) == Link("tun11", 0x1091, 1400, 500)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"e\x1b[31mx", r"e\x1b[31mx"),
        ("a\u202eb".encode(), r"a\u202eb"),
        (b"\xfe", r"\xfe"),
        (b"\xff", r"\xff"),
        ("zürich".encode(), "zürich"),
        ("\U000e0001".encode(), r"\U000e0001"),
    ],
)
def test_names_that_could_command_a_terminal_are_spelled_out(name: bytes, shown: str) -> None:
    """The kernel lets an interface have them; none of them becomes the same as another."""
    assert interface_name(name + b"\0") == shown
    attribute = pack_attribute(IFLA_IFNAME, name + b"\0")
    assert parse_link(encoded(ifinfmsg, [], index=7) + attribute).name == shown


@pytest.mark.parametrize(("kind", "queues"), [("tun", 3), ("veth", None)])
def test_the_queues_of_a_tun(kind: str, queues: int | None) -> None:
    """Those that are disabled count too; no other kind of link has any."""
    of_tun = [("IFLA_TUN_NUM_QUEUES", 2), ("IFLA_TUN_NUM_DISABLED_QUEUES", 1)]
    data = {"attrs": of_tun if kind == "tun" else []}
    info = {"attrs": [("IFLA_INFO_KIND", kind), ("IFLA_INFO_DATA", data)]}
    assert parse_queues(encoded(ifinfmsg, [("IFLA_LINKINFO", info)], index=7)) == queues


@pytest.mark.parametrize(
    "address", [ip_interface("192.168.7.1/30"), ip_interface("fd77::1/126")], ids=str
)
def test_addresses(address: Address) -> None:
    attributes = [("IFA_ADDRESS", str(address.ip))]
    attributes += [("IFA_LOCAL", str(address.ip))] if address.version == 4 else []
    fields: dict[str, Any] = {
        "family": socket.AF_INET if address.version == 4 else socket.AF_INET6,
        "prefixlen": address.network.prefixlen,
        "index": 7,
    }
    no_detection = 0 if address.version == 4 else 0x02
    body = encoded(ifaddrmsg, attributes, **fields, flags=no_detection)
    assert add_address(7, address) == Request(RTM_NEWADDR, NEW, body)
    body = encoded(ifaddrmsg, attributes, **fields)
    assert delete_address(7, address) == Request(RTM_DELADDR, 0, body)


@FAMILIES
def test_rules(family: int) -> None:
    rule = Rule(family, "wg0", TABLE, 32800, RTPROT_TUNROUTER)
    attributes = [
        ("FRA_OIFNAME", "wg0"),
        ("FRA_TABLE", TABLE),
        ("FRA_PRIORITY", 32800),
        ("FRA_PROTOCOL", RTPROT_TUNROUTER),
    ]
    body = encoded(fibmsg, attributes, family=family, action=1)
    assert add_rule(rule) == Request(RTM_NEWRULE, NEW, body)
    assert delete_rule(rule) == Request(RTM_DELRULE, 0, body)


@FAMILIES
def test_default_routes(family: int) -> None:
    route = SingleRoute(family, 7, TABLE, RTPROT_TUNROUTER, priority=9)
    attributes = [("RTA_OIF", 7), ("RTA_TABLE", TABLE), ("RTA_PRIORITY", 9)]
    body = encoded(rtmsg, attributes, family=family, proto=RTPROT_TUNROUTER, type=RTN_UNICAST)
    assert add_route(route) == Request(RTM_NEWROUTE, NEW, body)
    body = encoded(rtmsg, attributes, family=family, proto=RTPROT_TUNROUTER)
    assert delete_route(route) == Request(RTM_DELROUTE, 0, body)


@pytest.mark.parametrize(
    ("family", "network", "length", "source"),
    [
        (int(socket.AF_INET), "192.168.7.0", 30, "192.168.7.1"),
        (int(socket.AF_INET6), "fd77::", 126, "fd77::1"),
    ],
)
def test_routes_of_an_address(family: int, network: str, length: int, source: str) -> None:
    route = SingleRoute(
        family,
        7,
        254,
        RTPROT_KERNEL,
        dst=ip_address(network).packed,
        length=length,
        scope=RT_SCOPE_LINK,
        prefsrc=ip_address(source).packed,
    )
    attributes = [
        ("RTA_OIF", 7),
        ("RTA_TABLE", 254),
        ("RTA_DST", network),
        ("RTA_PREFSRC", source),
    ]
    fields = {"dst_len": length, "proto": 2, "scope": 253, "type": 1}
    body = encoded(rtmsg, attributes, family=family, **fields)
    assert add_route(route) == Request(RTM_NEWROUTE, NEW, body)


def _error(number: int, words: str | None) -> Message:
    body = (-number).to_bytes(4, "little", signed=True).ljust(4 + HEADER, b"\0")
    if words is None:  # the request is quoted, whatever it contains
        return Message(NLMSG_ERROR, 1, body + pack_attribute(1, b"no words\0"), 0)
    return Message(NLMSG_ERROR, 1, body + pack_attribute(1, words.encode() + b"\0"), 0x200)


def test_a_refusal_has_the_number_and_the_words_of_the_kernel() -> None:
    error = refusal(_error(errno.EINVAL, "Invalid prefsrc address"))
    assert (error.errno, error.strerror) == (
        errno.EINVAL,
        "Invalid argument (Invalid prefsrc address)",
    )
    bare = refusal(_error(errno.EEXIST, None))
    assert isinstance(bare, FileExistsError)
    assert bare.strerror == "File exists"


def test_the_kernel_answers_and_refuses() -> None:
    """Needs no privilege: the loopback interface exists everywhere."""
    index = socket.if_nametoindex("lo")
    (answer,) = request(get_link(index))
    assert parse_link(answer.body).name == "lo"
    assert [parse_link(each.body).name for each in request(get_link_named("lo"))] == ["lo"]
    with pytest.raises(OSError, match="No such device") as raised:
        request(get_link_named("nosuch0"))
    assert raised.value.errno == errno.ENODEV
