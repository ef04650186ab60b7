"""Answers of hosts behind this machine to hosts that have reached them around the router.

A captured host may reach a server of the LAN by the system's own routes, without the TUN; the
answers follow the route towards that host, which is the TUN's. No rule is about them and nothing
translates them: they leave unchanged by the interface that the system's own routes name, as they
would without a router.

Always true: only what no relayed flow can have sent is taken for such an answer: segments of a
connection that was accepted or refused behind this machine (router.flows.transit), ICMP that is no
query, and ICMP errors about nothing that the router has delivered. A datagram can't be told from
the first of a flow by itself: it is one where the system tracks a request that it answers, which is
asked again after ASKED_AGAIN.

Must not know: rules.
"""

from __future__ import annotations

import errno
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Final

from router.engine.refusals import Refusals
from router.engine.tracked_requests import UNANSWERED, Found, TrackedRequests
from router.flows.drops import Drop, Drops
from router.flows.transit import TransitTable
from router.outbound.all import Outbounds
from router.outbound.direct import DirectSender
from router.platform.base.errors import PlatformError
from router.wire import icmp, ip, tcp, udp
from router.wire.headers import PORTS
from router.wire.icmp import Error

Otherwise = Callable[[ip.Packet, float], None]
"""Goes on with a packet that is no such answer."""
ASKED_AGAIN: Final = 10.0
"""Seconds: less than the system tracks a datagram (nf_conntrack_udp_timeout)."""
MOST_ANSWERS: Final = 16_384
"""Flows of datagrams that are remembered."""


class Transit:
    """Packets whose source is no address of this machine, and that belong to no flow."""

    def __init__(
        self, outbounds: Outbounds, refusals: Refusals, drops: Drops, requests: TrackedRequests
    ) -> None:
        self._outbounds = outbounds
        self._refusals = refusals
        self._drops = drops
        self._table = TransitTable()
        self._requests = requests
        self._datagrams: OrderedDict[bytes, float] = OrderedDict()

    def take(self, packet: ip.Packet, now: float, otherwise: Otherwise) -> bool:
        """Send a packet that is no ICMP error, if it is such an answer; False if it is none. Where
        that is still to be found out it is kept, and goes `otherwise` if it is none."""
        if packet.protocol == ip.UDP:
            return len(packet.body) >= udp.HEADER and self._take_datagram(packet, now, otherwise)
        if packet.protocol == ip.TCP:
            is_answer = tcp.is_whole(packet) and self._belongs(packet)
        else:
            is_answer = packet.protocol == icmp.protocol_of(packet.version) and (
                icmp.message_type(packet) not in icmp.ANSWER_TO[packet.version]
            )
        if is_answer:
            self.send(packet, now)
        return is_answer

    def send(self, packet: ip.Packet, now: float) -> None:
        """Send a packet unchanged: the system has taken a hop off its limit on the way here."""
        try:
            sender = self._sender(packet)
        except BlockingIOError:
            self._refusals.drop(Drop.NO_BUFFER)
            return
        except (OSError, PlatformError):
            sender = None
        if sender is None:
            self._refusals.refuse(packet, Error.NO_ROUTE, Drop.UNREACHABLE, now)
            return
        try:
            sender.send_packet(packet)
        except OSError as error:
            if error.errno == errno.EMSGSIZE:
                mtu = sender.interface.mtu
                self._refusals.refuse(packet, Error.TOO_BIG, Drop.TOO_BIG, now, mtu)
            else:
                self._drops.count(Drop.NO_BUFFER)

    def _belongs(self, segment: ip.Packet) -> bool:
        key = segment.source + segment.destination + tcp.ports(segment)
        if tcp.is_request(segment):
            self._table.forget(key)
            return False
        if tcp.answers_request(segment):
            if not tcp.flags(segment) & tcp.RST:
                self._table.accepted(key)
            return True
        return self._table.knows(key)

    def _take_datagram(self, packet: ip.Packet, now: float, otherwise: Otherwise) -> bool:
        """Only where there is an answer it is remembered: what is none begins a flow."""
        key = packet.source + packet.destination + bytes(packet.body[:PORTS])
        if self._datagrams.get(key, now) > now:
            self.send(packet, now)
        else:
            self._datagrams.pop(key, None)
            self._requests.find(packet, partial(self._found, key, otherwise), now)
        return True

    def _found(
        self,
        key: bytes,
        otherwise: Otherwise,
        packet: ip.Packet,
        request: Found,
        now: float,
    ) -> None:
        if request is None or request is UNANSWERED:
            otherwise(packet, now)
            return
        if len(self._datagrams) >= MOST_ANSWERS:
            self._datagrams.popitem(last=False)
        self._datagrams[key] = now + ASKED_AGAIN
        self.send(packet, now)

    def _sender(self, packet: ip.Packet) -> DirectSender | None:
        """Raises OSError, PlatformError."""
        address = int.from_bytes(packet.destination, "big")
        outbound = self._outbounds.by_system(packet.version, address)
        return None if outbound is None else outbound.sender(packet.version)
