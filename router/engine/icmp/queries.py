"""ICMP queries: out by the query channel of an outbound, and their answers back.

Always true: errors from the network neither begin, refresh nor end a flow (RFC 5508 REQ-6); an
answer is delivered to the flow that has sent its query by the same outbound, or dropped.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from router.engine.errnos import SEND_ERRORS
from router.engine.refusals import Refusals
from router.engine.table_carrier import TableCarrier
from router.engine.tun_writer import TunWriter
from router.flows.drops import Drop, Drops
from router.flows.icmp import Binding, QueryTable, inside_key
from router.flows.nat import quoted, translate
from router.flows.nat.quoted import Quote
from router.flows.tally import Tally
from router.outbound.base import NatEndpoint, Outbound, QueryChannel, source_towards
from router.wire import icmp, ip
from router.wire.headers import ICMP_IDENTIFIER, ICMP_SEQUENCE
from router.wire.icmp import Error
from router.wire.offload import HEADER

LIMIT: Final = 32_768
"""Query flows of a family at most; a further one is refused (RFC 5508 REQ-8)."""

TIMED_INTERVAL: Final = 0.2
"""Seconds between two queries of a flow that are timed, at the least."""
LONGEST_ROUND_TRIP: Final = 10.0
"""Seconds after which a query that is timed counts as lost, and another one is timed."""

V4_KEY: Final = 8 + 1 + 2
"""Bytes of both addresses, type and identifier."""

NO_QUERY: Final = 255
"""A type that no query has, so that no flow is found."""


class Queries(TableCarrier):
    """The query flows of both families.

    first_id: where among the outside identifiers to begin; any number.
    is_local: whether an address is one of this machine, the TUN's included.
    """

    def __init__(
        self,
        writer: TunWriter,
        refusals: Refusals,
        drops: Drops,
        first_id: int,
        is_local: Callable[[bytes], bool],
    ) -> None:
        self._writer = writer
        self._refusals = refusals
        self._drops = drops
        self._tables: dict[int, QueryTable[Outbound]] = {
            version: QueryTable(LIMIT, first_id, is_local) for version in (4, 6)
        }
        super().__init__(list(self._tables.values()))
        self._by_inside_v4 = self._tables[4].by_inside
        self._by_inside_v6 = self._tables[6].by_inside

    def knows(self, version: int, key: bytes) -> bool:
        """Whether a query belongs to a flow; its addresses, type and identifier, one behind the
        other."""
        return key in self._tables[version].by_inside

    def flow(self, version: int, key: bytes) -> Binding[Outbound] | None:
        """The flow with such a key."""
        return self._tables[version].by_inside.get(key)

    def carry_frame(self, frame: bytearray, size: int, now: float) -> QueryChannel | None:
        """Carry the query that a frame from the TUN holds, if it belongs to a flow and is as
        queries usually are; else nothing has happened, and there is no channel.

        frame: its first `size` bytes; see router.wire.offload.
        """
        if frame[0] or frame[1]:
            return None
        packet = frame[HEADER:size]
        key = icmp.query_key(packet)
        if key is None:
            return None
        is_v4 = len(key) == V4_KEY
        binding = (self._by_inside_v4 if is_v4 else self._by_inside_v6).get(key)
        if binding is None:
            return None
        channel = binding.outbound.queries(4 if is_v4 else 6)
        if channel is not None:
            self._send(packet, ip.IPV4_HEADER if is_v4 else ip.IPV6_HEADER, binding, channel, now)
        return channel

    def carry(self, query: ip.Packet, kind: int, now: float) -> QueryChannel | None:
        """Send a query that belongs to a flow; its channel, or None if there is no such flow."""
        start = query.payload + ICMP_IDENTIFIER
        key = query.source + query.destination + bytes((kind,)) + query.data[start : start + 2]
        binding = self._tables[query.version].by_inside.get(key)
        if binding is None:
            return None
        channel = binding.outbound.queries(query.version)
        if channel is None:  # the outbound carries queries no more
            self._tables[query.version].end(binding)
            return None
        self._send_whole(query, binding, channel, now)
        return channel

    def begin(
        self, query: ip.Packet, kind: int, outbound: Outbound, tally: Tally, now: float
    ) -> None:
        """Send the first query of a flow by an outbound that reaches its family."""
        channel = outbound.queries(query.version)
        if channel is None:
            self._refusals.refuse_uncarried(query, now)
            return
        if self._is_our_own(query, kind, outbound):
            self._drops.count(Drop.LOOP)
            return
        address = ip.format_address(query.destination)
        binding = self._tables[query.version].add(
            outbound,
            query.source,
            query.destination,
            kind,
            icmp.identifier(query),
            address,
            source_towards(outbound, query.version, address),
            tally,
            now,
        )
        if binding is None:
            self._refusals.refuse(query, Error.PROHIBITED, Drop.TABLE_FULL, now)
        else:
            self._send_whole(query, binding, channel, now)

    def answer(self, channel: QueryChannel, answer: ip.Packet, kind: int, now: float) -> None:
        """Deliver an answer that a channel has received. kind: ICMP type of its queries."""
        data, start = answer.data, answer.payload + ICMP_IDENTIFIER
        outside_id = data[start] << 8 | data[start + 1]
        binding = self._tables[answer.version].answered(answer.source, kind, outside_id)
        if binding is None or binding.outbound is not channel.outbound:
            self._drops.count(Drop.NO_BINDING)
            return
        if answer.hop_limit <= 1:
            self._drops.count(Drop.HOP_LIMIT)
            return
        if binding.timed and data[start + 2 : start + 4] == binding.timed:
            binding.timed = b""
            binding.round_trip = _since(binding.timed_at, now)
        binding.last = now
        binding.answered = True
        size = len(data)
        binding.packets_in += 1
        binding.bytes_in += size
        tally = binding.tally
        tally.packets_in += 1
        tally.bytes_in += size
        self._writer.deliver(
            translate.answer(answer, binding.source, outside_id, binding.inside_id)
        )

    def error(self, channel: QueryChannel, error: ip.Packet, quote: Quote) -> None:
        """Deliver an error about a query of ours, translated to the addresses of its sender. All
        that it quotes of addresses and numbers has to be as the query left.

        An error of our own kernel (no such neighbour, packet too big) has an address of ours as
        its source, which the kernel does not accept from the TUN: then the router is the source.
        """
        binding = self._tables[error.version].answered(
            quote.destination, quote.kind, quote.identifier
        )
        if (
            binding is None
            or binding.outbound is not channel.outbound
            or not _has_sent_from(binding, quote.source)
        ):
            self._drops.count(Drop.NO_BINDING)
            return
        if error.hop_limit <= 1:
            self._drops.count(Drop.HOP_LIMIT)
            return
        source = error.source
        if binding.outbound.owns(source):
            source = self._refusals.peers.get(error.version, source)
        self._writer.deliver(quoted.restore(error, quote, binding, source))

    def outside_of(self, quote: Quote) -> NatEndpoint | None:
        """The outside of the flow whose answer a host inside quotes."""
        version = 4 if len(quote.source) == 4 else 6
        request = icmp.REQUEST_OF[version].get(quote.kind, NO_QUERY)
        key = inside_key(quote.destination, quote.source, request, quote.identifier)
        binding = self._tables[version].by_inside.get(key)
        return (
            None
            if binding is None
            else NatEndpoint(binding.outbound, binding.outside_address, binding.outside_id)
        )

    def _is_our_own(self, query: ip.Packet, kind: int, outbound: Outbound) -> bool:
        """Whether this is a query that we sent by `outbound` and that came back by the TUN."""
        table, identifier = self._tables[query.version], icmp.identifier(query)
        sent = table.answered(query.destination, kind, identifier)
        return sent is not None and outbound.owns(query.source)

    def _send_whole(
        self, query: ip.Packet, binding: Binding[Outbound], channel: QueryChannel, now: float
    ) -> None:
        if query.version == 6 and not icmp.has_valid_checksum(query):
            self._drops.count(Drop.BAD_CHECKSUM)
            return
        data, start, reassembled = query.data, query.payload, query.reassembled
        self._send(data, start, binding, channel, now, reassembled=reassembled)

    def _send(
        self,
        query: bytes | bytearray,
        start: int,
        binding: Binding[Outbound],
        channel: QueryChannel,
        now: float,
        *,
        reassembled: bool = False,
    ) -> None:
        """See QueryChannel.send."""
        try:
            channel.send(query, start, binding, reassembled=reassembled)
        except BlockingIOError:
            self._drops.count(Drop.NO_BUFFER)
        except OSError as error:
            self._refuse_by_errno(ip.parse(bytes(query)), binding, error, now)
        else:
            if now - binding.timed_at >= TIMED_INTERVAL:
                _time(query, start, binding, now)
            binding.last = now
            size = len(query)
            binding.packets_out += 1
            binding.bytes_out += size
            tally = binding.tally
            tally.packets_out += 1
            tally.bytes_out += size

    def _refuse_by_errno(
        self, query: ip.Packet, binding: Binding[Outbound], error: OSError, now: float
    ) -> None:
        what, reason = SEND_ERRORS.get(error.errno or 0, (None, Drop.NO_BUFFER))
        if what is None:
            self._drops.count(reason)
            return
        value = 0
        if what is Error.TOO_BIG:
            value = binding.outbound.path(query.version, binding.address[0]).mtu
        self._refusals.refuse(query, what, reason, now, value)


def _time(query: bytes | bytearray, start: int, binding: Binding[Outbound], now: float) -> None:
    """Time the answer to a query that leaves, unless that to one before may still come."""
    if not binding.timed or now - binding.timed_at > LONGEST_ROUND_TRIP:
        at = start + ICMP_SEQUENCE
        binding.timed, binding.timed_at = bytes(query[at : at + 2]), now


def _since(sent: float, now: float) -> float:
    """Seconds. An answer can arrive in the round of the loop that its query was sent in, which has
    one time."""
    return now - sent if now > sent else max(0.0, time.monotonic() - sent)


def _has_sent_from(binding: Binding[Outbound], source: bytes) -> bool:
    """Whether the queries of a binding have left from an address."""
    if any(binding.outside_address):
        return source == binding.outside_address
    return binding.outbound.owns(source)
