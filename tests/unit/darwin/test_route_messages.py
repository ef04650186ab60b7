"""Routing messages against golden bytes and C layouts of xnu, and against bytes of any kind."""

from __future__ import annotations

import ctypes
from ipaddress import ip_network
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from router.platform.darwin import route_messages as parser
from router.platform.darwin.constants import (
    AF_INET,
    AF_INET6,
    AF_LINK,
    RTF_GATEWAY,
    RTF_HOST,
    RTF_IFSCOPE,
    RTF_STATIC,
    RTF_UP,
    RTM_ADD,
    RTM_DELADDR,
    RTM_GET,
    RTM_GET2,
    RTM_IFINFO,
    RTM_IFINFO2,
    RTM_MISS,
    RTM_NEWADDR,
)
from router.platform.darwin.route_messages import (
    AddressMessage,
    InterfaceMessage,
    RouteMessage,
    Skipped,
    messages,
)
from router.platform.darwin.route_requests import add_route, delete_route, get_route
from router.platform.darwin.sockaddr import Address, Link, length_of, pack_link, split
from tests.unit.darwin import layouts

UTUN = Link(17, "utun11")
NETWORK = ip_network("198.51.100.0/24")
FIRST = int(NETWORK.network_address)
HEAD_24 = (
    "9000 05 01 0000 0000"  # length 144, version 5, RTM_ADD; no index; padding
    "01080000 07000000"  # UP | STATIC; DST | GATEWAY | NETMASK
    "00000000 07000000 00000000 00000000"  # pid, sequence 7, error, use
    "01000000"  # RTV_MTU
    "00000000 78050000"  # locks; MTU 1400
) + "00000000" * 12
BODY_24 = (
    "10020000c63364000000000000000000"
    "14121100010600007574756e3131000000000000"
    "10020000ffffff000000000000000000"
)


def packed(structure: type[ctypes.Structure], **fields: Any) -> bytes:
    return bytes(structure(**fields))


def sin(address: str, length: int = 16) -> bytes:
    return bytes([length, AF_INET, 0, 0, *map(int, address.split("."))]).ljust(16, b"\0")


def sin6(address: bytes) -> bytes:
    return packed(
        layouts.SockaddrIn6,
        sin6_len=28,
        sin6_family=AF_INET6,
        sin6_addr=(ctypes.c_uint8 * 16)(*address),
    )


def route(kind: int, flags: int, present: int, body: bytes, index: int = 4) -> bytes:
    """A message as the kernel writes it, by the C layout."""
    structure: Any = layouts.RtMsghdr2 if kind == RTM_GET2 else layouts.RtMsghdr
    header = structure(
        rtm_msglen=92 + len(body),
        rtm_version=5,
        rtm_type=kind,
        rtm_index=index,
        rtm_flags=flags,
        rtm_addrs=present,
    )
    header.rtm_rmx.rmx_mtu = 1500
    return bytes(header) + body


def test_structures_have_the_lengths_that_the_parser_assumes() -> None:
    assert ctypes.sizeof(layouts.RtMsghdr) == ctypes.sizeof(layouts.RtMsghdr2) == parser.ROUTE.size
    assert layouts.RtMsghdr.rtm_rmx.offset + layouts.RtMetrics.rmx_mtu.offset == 40
    assert ctypes.sizeof(layouts.IfMsghdr2) == parser.INTERFACE2_SIZE
    mtu = layouts.IfMsghdr2.ifm_data.offset + layouts.IfData64.ifi_mtu.offset
    assert mtu == parser.INTERFACE2_MTU
    assert ctypes.sizeof(layouts.IfMsghdr) == parser.INTERFACE_SIZE
    mtu = layouts.IfMsghdr.ifm_data.offset + layouts.IfData.ifi_mtu.offset
    assert mtu == parser.INTERFACE_MTU
    assert ctypes.sizeof(layouts.IfaMsghdr) == parser.ADDRESS.size


def test_an_interface_route_is_added_by_these_bytes() -> None:
    request = add_route(4, FIRST, 24, UTUN, mtu=1400, sequence=7)
    assert request.hex() == HEAD_24.replace(" ", "") + BODY_24


def test_a_request_has_the_c_layout() -> None:
    request = add_route(6, 0xFD << 120, 8, UTUN, mtu=1280, scope=17, sequence=3)
    header = layouts.RtMsghdr.from_buffer_copy(request)
    assert header.rtm_msglen == len(request) == 92 + 28 + 20 + 28
    assert (header.rtm_version, header.rtm_type, header.rtm_index) == (5, RTM_ADD, 17)
    assert header.rtm_flags == RTF_UP | RTF_STATIC | RTF_IFSCOPE
    assert (header.rtm_addrs, header.rtm_seq, header.rtm_inits) == (7, 3, 1)
    assert header.rtm_rmx.rmx_mtu == 1280
    destination = layouts.SockaddrIn6.from_buffer_copy(request, 92)
    assert (destination.sin6_len, destination.sin6_family) == (28, AF_INET6)
    assert bytes(destination.sin6_addr) == b"\xfd" + bytes(15)
    gateway = layouts.SockaddrDl.from_buffer_copy(request, 92 + 28)
    assert (gateway.sdl_len, gateway.sdl_family, gateway.sdl_index) == (20, AF_LINK, 17)
    assert (gateway.sdl_nlen, gateway.sdl_data) == (6, b"utun11")


def test_a_host_route_has_no_netmask_and_a_deletion_no_gateway() -> None:
    host = layouts.RtMsghdr.from_buffer_copy(add_route(4, FIRST, 32, UTUN, is_host=True))
    assert host.rtm_addrs == 3
    assert host.rtm_flags == RTF_UP | RTF_STATIC | RTF_HOST
    deletion = layouts.RtMsghdr.from_buffer_copy(delete_route(4, FIRST, 24))
    assert (deletion.rtm_type, deletion.rtm_addrs) == (2, 5)


def test_a_query_wants_interface_and_source() -> None:
    query = layouts.RtMsghdr.from_buffer_copy(get_route(4, FIRST, scope=4, sequence=9))
    assert (query.rtm_type, query.rtm_addrs, query.rtm_index) == (RTM_GET, 0x31, 4)
    assert query.rtm_flags & RTF_IFSCOPE


@given(
    version=st.sampled_from([4, 6]),
    bits=st.integers(0, (1 << 128) - 1),
    length=st.integers(0, 128),
    mtu=st.integers(0, 65535),
)
def test_what_is_requested_is_read_again(version: int, bits: int, length: int, mtu: int) -> None:
    width = 32 if version == 4 else 128
    length = min(length, width)
    first = bits >> (128 - width) >> (width - length) << (width - length)
    if version == 6 and first >> 118 == 0b1111111010:
        return  # link-local: the kernel embeds its scope
    (found,) = messages(add_route(version, first, length, UTUN, mtu=mtu))
    assert isinstance(found, RouteMessage)
    assert (found.version, found.first, found.length, found.mtu) == (version, first, length, mtu)
    assert found.gateway == UTUN


def test_a_truncated_netmask_of_a_dump() -> None:
    """rn_addmask cuts what is 0 at the end; the bytes before the address may be anything."""
    body = sin("10.0.0.0") + pack_link(17, "utun11") + bytes([5, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0])
    (found,) = messages(route(RTM_GET2, RTF_UP, 7, body))
    assert isinstance(found, RouteMessage)
    assert (found.first, found.length, found.gateway) == (10 << 24, 8, UTUN)


def test_a_default_route_whose_netmask_has_length_0() -> None:
    body = sin("0.0.0.0") + sin("192.168.1.1") + bytes(4) + sin("192.168.1.7")
    (found,) = messages(route(RTM_GET2, RTF_UP | RTF_GATEWAY, 0x27, body))
    assert isinstance(found, RouteMessage)
    assert (found.first, found.length, found.mtu) == (0, 0, 1500)
    assert found.gateway == Address(4, 0xC0A80101)
    assert found.source == Address(4, 0xC0A80107)


def test_the_scope_is_taken_out_of_a_link_local_address() -> None:
    inside = bytes.fromhex("fe800004000000000000000000000001")
    body = sin6(inside) + pack_link(4, "en0")
    (found,) = messages(route(RTM_ADD, RTF_UP | RTF_HOST, 3, body))
    assert isinstance(found, RouteMessage)
    assert found.first == int.from_bytes(bytes.fromhex("fe80") + bytes(13) + b"\x01", "big")


def test_interfaces_and_addresses_of_a_dump() -> None:
    link = pack_link(4, "en0")
    interface = layouts.IfMsghdr2(
        ifm_msglen=160 + len(link),
        ifm_version=5,
        ifm_type=RTM_IFINFO2,
        ifm_addrs=0x10,
        ifm_flags=0x8863,
        ifm_index=4,
    )
    interface.ifm_data.ifi_mtu = 1500
    body = bytes([7, 0, 0, 0, 255, 255, 255, 0]) + sin("192.168.1.7") + sin("192.168.1.255")
    address = packed(
        layouts.IfaMsghdr,
        ifam_msglen=20 + len(body),
        ifam_version=5,
        ifam_type=RTM_NEWADDR,
        ifam_addrs=0xA4,
        ifam_index=4,
    )
    found = list(messages(bytes(interface) + link + address + body))
    assert found == [
        InterfaceMessage("en0", 4, 0x8863, 1500),
        AddressMessage(RTM_NEWADDR, 4, Address(4, 0xC0A80107), 24),
    ]


def test_an_event_of_an_interface_has_another_layout() -> None:
    event = layouts.IfMsghdr(
        ifm_msglen=112, ifm_version=5, ifm_type=RTM_IFINFO, ifm_flags=0x8051, ifm_index=17
    )
    event.ifm_data.ifi_mtu = 1380
    assert list(messages(bytes(event))) == [InterfaceMessage("", 17, 0x8051, 1380)]


def test_a_kind_of_no_use_and_another_version_are_passed_over() -> None:
    miss = route(RTM_MISS, RTF_UP, 1, sin("192.0.2.1"))
    other = bytes([8, 0, 4, RTM_ADD, 0, 0, 0, 0])
    assert list(messages(miss + other)) == [Skipped(RTM_MISS)]


def test_malformed_messages_are_named_and_the_next_are_read() -> None:
    bad_mask = route(RTM_GET2, RTF_UP, 5, sin("10.0.0.0") + sin("255.0.255.0"))
    no_mask = route(RTM_GET2, RTF_UP, 1, sin("10.0.0.0"))
    cut = route(RTM_GET2, RTF_UP, 7, sin("10.0.0.0"))
    good = route(RTM_GET2, RTF_UP | RTF_HOST, 1, sin("10.0.0.9"))
    found = list(messages(bad_mask + no_mask + cut + good + b"\xff\xff\x05\x01"))
    assert [each.fault for each in found if isinstance(each, Skipped)] == [
        "a netmask with gaps",
        "a route without a netmask",
        "a routing message that lacks an address",
        "a routing message that is cut off",
    ]
    assert sum(isinstance(each, RouteMessage) for each in found) == 1


@given(st.binary(max_size=400))
def test_whatever_the_bytes_are_nothing_is_raised(data: bytes) -> None:
    list(messages(data))


@given(
    kind=st.sampled_from([RTM_ADD, RTM_GET2, RTM_IFINFO, RTM_IFINFO2, RTM_NEWADDR, RTM_DELADDR]),
    rest=st.binary(min_size=0, max_size=300),
)
def test_nor_behind_a_valid_start(kind: int, rest: bytes) -> None:
    data = (4 + len(rest)).to_bytes(2, "little") + bytes([5, kind]) + rest
    assert len(list(messages(data))) == 1


def test_a_sockaddr_of_length_0_takes_four_bytes() -> None:
    body = bytes(4) + sin("10.0.0.1")
    assert [(bit, len(raw)) for bit, raw in split(body, 5)] == [(1, 0), (4, 16)]
    assert length_of(b"", 6) == 0
