"""ICMP errors: whom they are about, and who is told.

    from outside    by the raw socket of a way out, about a query or a datagram that has left
    from inside     by the TUN, about an answer or a datagram that was handed in

Always true: an error finds a flow that exists or goes nowhere; it neither begins, refreshes nor
ends one (RFC 5508 REQ-6, RFC 4787 REQ-12).

Errors about datagrams that have left are told to their own sockets (see `arrivals`) and are not
looked at here, but for one that no bound socket hears: what our own IPv4 says of a neighbour that
does not answer comes by the loopback interface. The raw socket of the way out hears it.
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
        """Hand in an error that a raw socket has received. It is whole, and the kernel has looked
        at its checksum in IPv6."""
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
        """Send on an error about something that was handed in; or why it can be about nothing that
        was."""
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
        """From the address that the system sends from towards the error's destination: that is the
        host which has sent the packet that the error is about."""
        if error.hop_limit <= 1:
            self._drops.count(Drop.HOP_LIMIT)
            return
        channel = outside.outbound.queries(error.version)
        address = ip.format_address(error.destination)
        source = outside.outbound.path(error.version, address).source
        if source is None or channel is None:
            self._drops.count(Drop.UNREACHABLE)
            return
        try:
            channel.send_error(quoted.outward(error, quote, source, outside.number), address)
        except OSError:
            self._drops.count(Drop.NO_BUFFER)
