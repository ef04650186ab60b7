"""Bytes of each message and structure of xnu that is read or written, written out by hand.

The offsets in the comments are those of xnu's headers (xnu-11417.101.15), little-endian, as C lays
the fields out; `layouts` says them a second time.
"""

from __future__ import annotations

import socket
from struct import Struct

import pytest

from router.platform.darwin.arrival import interface_of
from router.platform.darwin.constants import UTUN_CONTROL
from router.platform.darwin.icmp6_filter import passing
from router.platform.darwin.icmp_socket import PASSED_V6
from router.platform.darwin.peer import peer_credentials
from router.platform.darwin.processes_kernel import BSD_INFO_SIZE, STARTED, STARTED_AT
from router.platform.darwin.route_messages import (
    AddressMessage,
    InterfaceMessage,
    Message,
    RouteMessage,
    messages,
)
from router.platform.darwin.route_requests import add_route, delete_route, get_route
from router.platform.darwin.sockaddr import Address, Link
from router.platform.darwin.tcp_state import ConnectionInfo, parse_connection_info
from router.platform.darwin.utun import CTL_INFO

UTUN11 = "14121100 01060000 7574756e3131 000000000000"
"""struct sockaddr_dl, net/if_dl.h:96-106: length@0, AF_LINK@1, index@2, type@4, length of the
name@5, of the address@6, of the selector@7, data@8."""
NET = "10020000 c6336400 0000000000000000"
"""struct sockaddr_in, netinet/in.h:380-388: length@0, AF_INET@1, port@2, address@4."""
MASK_24 = "10020000 ffffff00 0000000000000000"
HOST = "10020000 cb007109 0000000000000000"
ANY = "10020000 00000000 0000000000000000"
NET_V6 = "1c1e0000 00000000 20010db8000900000000000000000000 00000000"
"""struct sockaddr_in6, netinet6/in6.h:163-172: length@0, AF_INET6@1, port@2, flow@4, address@8,
scope@24."""
MASK_48 = "1c1e0000 00000000 ffffffffffff00000000000000000000 00000000"
METRICS = "00" * 48
"""struct rt_metrics, net/route.h:75-87: locks@0, MTU@4, and 48 bytes of others."""

# struct rt_msghdr, net/route.h:154-167: length@0, version@2, kind@3, index@4, flags@8,
# addresses@12, pid@16, sequence@20, error@24, use@28, inits@32, metrics@36.
NOBODY = "00000000"
REQUESTS = {
    "a network": (
        add_route(4, 0xC6336400, 24, Link(17, "utun11"), mtu=1400, sequence=7),
        "9000 05 01 0000 0000 01080000 07000000"
        + NOBODY
        + "07000000 00000000 00000000 01000000 00000000 78050000"
        + METRICS
        + NET
        + UTUN11
        + MASK_24,
    ),
    "a host": (
        add_route(4, 0xCB007109, 32, Link(17, "utun11"), is_host=True),
        "8000 05 01 0000 0000 05080000 03000000"
        + NOBODY
        + "00000000 00000000 00000000 00000000 00000000 00000000"
        + METRICS
        + HOST
        + UTUN11,
    ),
    "of IPv6": (
        add_route(6, 0x20010DB80009 << 80, 48, Link(17, "utun11"), mtu=1280, sequence=8),
        "a800 05 01 0000 0000 01080000 07000000"
        + NOBODY
        + "08000000 00000000 00000000 01000000 00000000 00050000"
        + METRICS
        + NET_V6
        + UTUN11
        + MASK_48,
    ),
    "a scoped default": (
        add_route(4, 0, 0, Link(17, "utun11"), scope=17),
        "9000 05 01 1100 0000 01080001 07000000"
        + NOBODY
        + "00000000 00000000 00000000 00000000 00000000 00000000"
        + METRICS
        + ANY
        + UTUN11
        + ANY,
    ),
    "deleting a network": (
        delete_route(4, 0xC6336400, 24, sequence=9),
        "7c00 05 02 0000 0000 01080000 05000000"
        + NOBODY
        + "09000000 00000000 00000000 00000000 00000000 00000000"
        + METRICS
        + NET
        + MASK_24,
    ),
    "deleting a host": (
        delete_route(4, 0xCB007109, 32, is_host=True, sequence=10),
        "6c00 05 02 0000 0000 05080000 01000000"
        + NOBODY
        + "0a000000 00000000 00000000 00000000 00000000 00000000"
        + METRICS
        + HOST,
    ),
    "deleting a scoped default": (
        delete_route(4, 0, 0, scope=8),
        "7c00 05 02 0800 0000 01080001 05000000"
        + NOBODY
        + "00000000 00000000 00000000 00000000 00000000 00000000"
        + METRICS
        + ANY
        + ANY,
    ),
    "a query of a bound socket": (
        get_route(4, 0xCB007109, scope=4, sequence=11),
        "6c00 05 04 0400 0000 05000001 31000000"
        + NOBODY
        + "0b000000 00000000 00000000 00000000 00000000 00000000"
        + METRICS
        + HOST,
    ),
    "a query": (
        get_route(4, 0xCB007109),
        "6c00 05 04 0000 0000 05000000 31000000"
        + NOBODY
        + "00000000 00000000 00000000 00000000 00000000 00000000"
        + METRICS
        + HOST,
    ),
}


@pytest.mark.parametrize(("request_", "wanted"), REQUESTS.values(), ids=REQUESTS)
def test_a_request(request_: bytes, wanted: str) -> None:
    assert request_.hex(" ", 4) == bytes.fromhex(wanted).hex(" ", 4)


EN0 = "14120400 06030600 656e30 020000000001 000000"
"""A name of three bytes, and a hardware address of six behind it."""
RECEIVED: dict[str, tuple[str, Message]] = {
    # struct rt_msghdr2, net/route.h:169-182: references@16, flags of the parent@20 and 0@24 in the
    # place of pid, sequence and error. A netmask of length 0 takes four bytes.
    "a default route": (
        "8000 05 14 0400 0000 03080000 07000000"
        "05000000 03000000 00000000 2a000000 00000000 00000000 dc050000"
        + METRICS
        + ANY
        + "10020000 c0a80101 0000000000000000"
        + "00000000",
        RouteMessage(0x14, 4, 0, 0, 4, 0x803, Address(4, 0xC0A80101), 1500),
    ),
    # The netmask ends with its last byte that is not 0 (net/radix.c, rn_addmask).
    "a route of IPv6": (
        "9c00 05 14 1100 0000 01080000 07000000"
        "00000000 00000000 00000000 00000000 01000000 00000000 00050000"
        + METRICS
        + NET_V6
        + UTUN11
        + "0eff0000 00000000 ffffffffffff 0000",
        RouteMessage(0x14, 6, 0x20010DB80009 << 80, 48, 17, 0x801, Link(17, "utun11"), 1280),
    ),
    "an answer": (
        "a000 05 04 0400 0000 07000001 33000000"
        "d2040000 09000000 03000000 00000000 00000000 00000000 dc050000"
        + METRICS
        + HOST
        + "10020000 c0a80101 0000000000000000"
        + EN0
        + "10020000 c0a80107 0000000000000000",
        RouteMessage(
            *(4, 4, 0xCB007109, 32, 4, 0x1000007, Address(4, 0xC0A80101), 1500),
            *(Address(4, 0xC0A80107), 3, 9, 1234),
        ),
    ),
    # struct if_msghdr2, net/if.h:220-232: addresses@4, flags@8, index@12, the queue@16, and a
    # struct if_data64 (net/if_var.h:207-235) @32 with the MTU@8 in it.
    "an interface of a dump": (
        "b400 05 12 10000000 63880000 0400 0000 00000000 00010000 00000000 00000000"
        "06000006 0e000000 dc050000" + "00" * 116 + EN0,
        InterfaceMessage("en0", 4, 0x8863, 1500),
    ),
    # struct if_msghdr, net/if.h:179-187: a struct if_data (net/if_var.h:163-200) @16.
    "an interface that has changed": (
        "7000 05 0e 00000000 51800000 1100 0000 01000000 00000000 64050000" + "00" * 84,
        InterfaceMessage("", 17, 0x8051, 1380),
    ),
    # struct ifa_msghdr, net/if.h:190-199: addresses@4, flags@8, index@12, metric@16. Netmask,
    # address and broadcast address.
    "an address": (
        "3c00 05 0c a4000000 00000000 0400 0000 00000000"
        "07000000 ffffff00 10020000 c0a80107 0000000000000000 10020000 c0a801ff 0000000000000000",
        AddressMessage(0xC, 4, Address(4, 0xC0A80107), 24),
    ),
    # The scope of a link-local address is in its bytes 2 and 3.
    "an address of the link that is removed": (
        "4c00 05 0d 24000000 00000000 0400 0000 00000000"
        "1c1e0000 00000000 ffffffffffffffff0000000000000000 00000000"
        "1c1e0000 00000000 fe800004000000000000000000000001 00000000",
        AddressMessage(0xD, 4, Address(6, 0xFE80 << 112 | 1, 4), 64),
    ),
}


@pytest.mark.parametrize(("received", "wanted"), RECEIVED.values(), ids=RECEIVED)
def test_what_is_received(received: str, wanted: Message) -> None:
    assert list(messages(bytes.fromhex(received))) == [wanted]


def test_the_name_of_the_control() -> None:
    """struct ctl_info, sys/kern_control.h:118-121: id@0, name@4 of 96 bytes."""
    name = b"com.apple.net.utun_control".hex().ljust(192, "0")
    assert CTL_INFO.pack(0, UTUN_CONTROL.encode()).hex() == "00000000" + name


def test_the_types_of_icmpv6_that_pass() -> None:
    """struct icmp6_filter, netinet/icmp6.h:619-635: a bit for each type, the lowest first, from
    words of 32. 1 to 4 are the errors, 129 the answer to an echo request."""
    assert passing({1, 2, 3, 4, 129}).hex() == "1e000000" + "00" * 12 + "02000000" + "00" * 12
    assert {1, 2, 3, 4, 129} <= set(PASSED_V6)


def test_the_interface_of_what_has_arrived() -> None:
    """struct in_pktinfo, netinet/in.h:654-658: interface@0, own address@4, destination@8. struct
    in6_pktinfo, netinet6/in6.h:681-684: destination@0, interface@16."""
    v4 = bytes.fromhex("02010000 c0a80107 c6336401")
    assert interface_of([(0, 26, v4)]) == 258
    v6 = bytes.fromhex("20010db8000100000000000000000007 02010000")
    assert interface_of([(41, 46, v6)]) == 258


def test_the_state_of_a_connection() -> None:
    """struct tcp_connection_info, netinet/tcp.h:254-301: state@0, bytes to be sent@32, round
    trip@44, segments sent@56, received@80, bytes received@88, segments sent again@104."""
    info = bytes.fromhex(
        "04060600"
        + "ff" * 28
        + "01020000"
        + "ff" * 8
        + "19000000"
        + "ff" * 8
        + "1500000000000000"
        + "ff" * 16
        + "1600000001000000 6400000000000000"
        + "ff" * 8
        + "0300000000000000"
    )
    assert len(info) == 112
    assert parse_connection_info(info) == ConnectionInfo(4, 513, 25, 21, (1 << 32) + 22, 100, 3)


def test_the_credentials_of_a_peer(monkeypatch: pytest.MonkeyPatch) -> None:
    """struct xucred, sys/ucred.h: version@0, user@4, number of groups@8, groups@12, 16 of them."""
    value = bytes.fromhex("00000000 f5010000 0200 0000 14000000 50000000" + "00" * 56)
    monkeypatch.setattr(socket.socket, "getsockopt", lambda *_: value, raising=False)
    with socket.socket() as sock:
        assert peer_credentials(sock) == (501, 20)


def test_the_start_of_a_process() -> None:
    """struct proc_bsdinfo, sys/proc_info.h:88-110: seconds@120 and microseconds@128 are the last of
    136 bytes."""
    info = bytes(120) + Struct("<QQ").pack(1_700_000_000, 123_456)
    assert STARTED.unpack_from(info, STARTED_AT) == (1_700_000_000, 123_456)
    assert len(info) == BSD_INFO_SIZE
