"""Errors about our queries: translated exactly, or dropped.

The oracle: what the sender of the query would receive if its packet, one hop later, had been
quoted as it sent it. `outside` makes the packet as it leaves, with scapy; everything else follows
from it.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.flows.drops import Drop
from router.flows.icmp import Binding, QueryTable
from router.flows.nat import quoted
from router.flows.tally import Tally
from router.wire import icmp, ip
from router.wire.icmp import Error
from tests.unit.flows.nat.damaged import damaged
from tests.unit.wire.packets import (
    FAR,
    ICMP,
    INSIDE,
    IP,
    TCP,
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrFragment,
    echo_request,
)

BOTH = pytest.mark.parametrize("version", [4, 6])
OUTSIDE = {4: "192.0.2.2", 6: "2001:db8:2::2"}
HOP = {4: ip_address("203.0.113.9").packed, 6: ip_address("2001:db8:113::9").packed}
ERRORS = list(Error)


def bound(version: int, inside_id: int) -> Binding[str]:
    table: QueryTable[str] = QueryTable(1)
    source, far = ip_address(INSIDE[version]).packed, ip_address(FAR[version]).packed
    kind = icmp.ECHO_REQUEST if version == 4 else icmp.ECHO_REQUEST_V6
    binding = table.add(
        "home", source, far, kind, inside_id, FAR[version], b"", Tally("home", 1), 0.0
    )
    assert binding is not None
    return binding


def quoting(version: int, about: bytes, what: Error, cut: int, value: int = 0) -> bytes:
    """An error from a hop, addressed to us, that quotes the first `cut` bytes of `about`."""
    kind, code = what.type_and_code(version)
    body = bytes((kind, code, 0, 0)) + value.to_bytes(4, "big") + about[:cut]
    hop = HOP[version]
    ours = ip_address(OUTSIDE[version]).packed
    return ip.build(hop, ours, icmp.protocol_of(version), icmp.message(version, hop, ours, body))


def expected(version: int, about: bytes, what: Error, cut: int, value: int = 0) -> bytes:
    """The error that the sender of the query should receive: about its packet, one hop later."""
    kind, code = what.type_and_code(version)
    body = bytes((kind, code, 0, 0)) + value.to_bytes(4, "big") + about[:cut]
    hop, inside = HOP[version], ip_address(INSIDE[version]).packed
    body = icmp.message(version, hop, inside, body)
    return ip.build(hop, inside, icmp.protocol_of(version), body, hop_limit=63)


@BOTH
@given(
    inside_id=st.integers(0, 0xFFFF),
    payload=st.binary(max_size=64),
    cut=st.integers(0, 200),
    what=st.sampled_from(ERRORS),
    value=st.integers(0, 0xFFFFFFFF),
    sequence=st.integers(0, 0xFFFF),
)
def test_an_error_is_translated_exactly_or_dropped(
    version: int, inside_id: int, payload: bytes, cut: int, what: Error, value: int, sequence: int
) -> None:
    binding = bound(version, inside_id)
    fields: dict[str, Any] = {"payload": payload, "sequence": sequence, "hop_limit": 1}
    left = echo_request(version, identifier=binding.outside_id, source=OUTSIDE[version], **fields)
    sent = echo_request(version, identifier=inside_id, **fields)
    error = ip.parse(quoting(version, left, what, cut, value))
    quote = quoted.read(error)
    if cut < (20 if version == 4 else 40) + 6:
        assert quote is Drop.MALFORMED
        return
    assert isinstance(quote, quoted.Quote)
    assert (quote.identifier, quote.destination) == (binding.outside_id, binding.destination)
    restored = quoted.restore(error, quote, binding, error.source)
    wanted = expected(version, sent, what, min(cut, len(sent)), value)
    assert _same(version, restored, wanted)


def _same(version: int, one: bytes, other: bytes) -> bool:
    """Equal, where 0 and 0xFFFF are the same checksum of the quoted message (RFC 1624)."""
    if one == other:
        return True
    at = (20 + 8 + 20 if version == 4 else 40 + 8 + 40) + 2
    zeros = {b"\0\0", b"\xff\xff"}
    return {one[at : at + 2], other[at : at + 2]} == zeros and (one[at + 2 :] == other[at + 2 :])


@BOTH
def test_data_behind_the_quote_is_kept(version: int) -> None:
    """RFC 4884: an extension structure, such as an MPLS label stack, behind the quote."""
    binding = bound(version, 7)
    left = echo_request(version, identifier=binding.outside_id, source=OUTSIDE[version])
    extension = b"\x20\x00\xaa\xbb\x00\x08\x01\x01\x00\x01\x01\x01"
    error = ip.parse(
        quoting(version, left[:128].ljust(128, b"\0") + extension, Error.NO_ROUTE, 200)
    )
    quote = quoted.read(error)
    assert isinstance(quote, quoted.Quote)
    assert quoted.restore(error, quote, binding, error.source).endswith(extension)


@BOTH
def test_a_quote_of_something_else_is_no_binding(version: int) -> None:
    header = IP(src=OUTSIDE[4], dst=FAR[4]) if version == 4 else IPv6(src=OUTSIDE[6], dst=FAR[6])
    about = bytes(header / TCP(sport=0xC000, dport=0xC000))
    error = ip.parse(quoting(version, about, Error.NO_ROUTE, 200))
    assert quoted.read(error) is Drop.NO_BINDING


def test_a_quote_of_the_other_family_is_no_binding() -> None:
    error = quoting(4, echo_request(6), Error.NO_ROUTE, 200)
    assert quoted.read(ip.parse(error)) is Drop.NO_BINDING


def test_a_quoted_later_fragment_is_no_binding() -> None:
    later = bytes(IP(src=OUTSIDE[4], dst=FAR[4], frag=100, proto=1) / bytes(16))
    assert quoted.read(ip.parse(quoting(4, later, Error.NO_ROUTE, 200))) is Drop.NO_BINDING
    header = IPv6(src=OUTSIDE[6], dst=FAR[6]) / IPv6ExtHdrFragment(offset=100, nh=58)
    error = quoting(6, bytes(header / bytes(16)), Error.NO_ROUTE, 200)
    assert quoted.read(ip.parse(error)) is Drop.NO_BINDING


def test_a_quoted_first_fragment_is_read() -> None:
    first = bytes(IP(src=OUTSIDE[4], dst=FAR[4], flags="MF") / ICMP(id=0xC123) / bytes(16))
    quote = quoted.read(ip.parse(quoting(4, first, Error.NO_ROUTE, 200)))
    assert isinstance(quote, quoted.Quote)
    assert quote.identifier == 0xC123
    header = IPv6(src=OUTSIDE[6], dst=FAR[6]) / IPv6ExtHdrFragment(m=1, nh=58)
    first = bytes(header / ICMPv6EchoRequest(id=0xC123, data=bytes(16)))
    quote = quoted.read(ip.parse(quoting(6, first, Error.NO_ROUTE, 200)))
    assert isinstance(quote, quoted.Quote)
    assert quote.identifier == 0xC123


@BOTH
@pytest.mark.parametrize("seed", range(10))
def test_damaged_errors_never_raise(version: int, seed: int) -> None:
    binding = bound(version, 7)
    left = echo_request(version, identifier=binding.outside_id, source=OUTSIDE[version])
    for packet in damaged(quoting(version, left, Error.TOO_BIG, 200, 1400), seed):
        quote = quoted.read(packet)
        if isinstance(quote, quoted.Quote) and packet.hop_limit > 1:
            restored = quoted.restore(packet, quote, binding, packet.source)
            assert len(restored) == len(packet.data)
