"""ICMP errors: which flow each is about, and where it is sent.

    from outside    by a query channel, about a query or a datagram that has left
    from inside     by the TUN, about an answer or a datagram that was written into it

Always true: an error that is about no flow is dropped; an error neither begins, refreshes nor
ends one (RFC 5508 REQ-6, RFC 4787 REQ-12).

Errors about datagrams that have left are reported to their own sockets (see `udp.inbound`) and are
ignored here, with one exception: the host-unreachable error that our own IPv4 sends for a neighbour
that does not answer comes by the loopback interface, so a bound UDP socket does not receive it. The
query channel does.
"""

from __future__ import annotations

from typing import Final

from router.engine.icmp.queries import Queries
from router.engine.udp.datagrams import Datagrams
from router.flows.drops import Drop, Drops
from router.flows.nat import quoted
from router.flows.nat.quoted import Quote
from router.outbound.base import NatEndpoint, QueryChannel
from router.wire import icmp, ip
from router.wire.icmp import Error

HOST_UNREACHABLE: Final = bytes(Error.HOST_UNREACHABLE.type_and_code(4))


class Errors:
    """Those about queries and datagrams of both families."""

    def __init__(self, queries: Queries, datagrams: Datagrams, drops: Drops) -> None:
        self._queries = queries
        self._datagrams = datagrams
        self._drops = drops

    def from_outside(self, channel: QueryChannel, error: ip.Packet) -> None:
        """Deliver an error that a query channel has received. It is whole, and the kernel has
        checked the checksum of ICMPv6."""
        quote = quoted.read(error)
        if error.version == 4 and not icmp.has_valid_checksum(error):
            quote = Drop.BAD_CHECKSUM
        if isinstance(quote, Drop):
            self._drops.count(quote)
        elif quote.protocol == ip.UDP:
            self._about_a_datagram(channel, error, quote)
        else:
            self._queries.error(channel, error, quote)

    def from_inside(self, error: ip.Packet) -> Drop | None:
        """Forward an error about something that was delivered; or the reason to drop it."""
        quote = quoted.read(error)
        if not icmp.has_valid_checksum(error):
            quote = Drop.BAD_CHECKSUM
        if isinstance(quote, Drop):
            return quote
        flows = self._datagrams if quote.protocol == ip.UDP else self._queries
        outside = flows.outside_of(quote)
        if outside is None or error.destination != quote.source:
            return Drop.NO_BINDING
        self._send_on(error, quote, outside)
        return None

    def _about_a_datagram(self, channel: QueryChannel, error: ip.Packet, quote: Quote) -> None:
        """Errors of other routers, and all of IPv6, have reached the datagram's own socket."""
        start = error.payload
        is_missed = error.version == 4 and error.data[start : start + 2] == HOST_UNREACHABLE
        if is_missed and channel.outbound.owns(error.source):
            self._datagrams.host_unreachable(channel.outbound, error, quote)

    def _send_on(self, error: ip.Packet, quote: Quote, outside: NatEndpoint) -> None:
        """From the address of the flow, which the packet that the error is about was sent to."""
        if error.hop_limit <= 1:
            self._drops.count(Drop.HOP_LIMIT)
            return
        channel = outside.outbound.queries(error.version)
        if channel is None or not any(outside.address):
            self._drops.count(Drop.UNREACHABLE)
            return
        packet = quoted.outward(error, quote, outside.address, outside.number)
        try:
            channel.send_error(packet, ip.format_address(error.destination))
        except OSError:
            self._drops.count(Drop.NO_BUFFER)
