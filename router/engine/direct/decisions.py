"""Which packets of this machine's own addresses leave directly.

Always true: a packet leaves directly only by the outbound that its rule names, from an address of
that outbound. What began directly and is decided on otherwise now is ended, and told so: its source
is no address of its outbound any more.

Must not know: how rules are evaluated.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable
from typing import Final

from router.config.model import Path, Policy
from router.engine.direct.flow import DirectFlow, pair_of
from router.engine.direct.path import DirectPath
from router.engine.direct.translated import TranslatedAnswers
from router.engine.refusals import Refusals
from router.flows.drops import Drop
from router.flows.tally import Tally
from router.outbound.base import Outbound
from router.outbound.direct import DirectSenders
from router.platform.base.errors import PlatformError
from router.wire import icmp, ip, tcp
from router.wire.icmp import Error
from router.wire.transport import source_port

log = logging.getLogger(__name__)

MOST_FORMER: Final = 65_536
"""Pairs of addresses that are remembered after rules or outbounds have changed."""

IsListening = Callable[[bytes, int, int], bool]
"""Whether a program accepts TCP connections at a local address and port, by the interface of an
index."""


class Direct:
    """Decides about packets whose source is one of `owns`.

    path: of what is decided on.
    obstacle_of: why nothing may begin to leave directly by an interface; None if it may.
    forgotten: called by `forget`; None unless packets are traced.
    """

    def __init__(
        self,
        path: DirectPath,
        senders: DirectSenders,
        refusals: Refusals,
        is_listening: IsListening,
        obstacle_of: Callable[[str], str | None],
        translated: TranslatedAnswers,
    ) -> None:
        self.path = path
        self.owns = senders.owns
        self.sent = path.sent
        self.stop_forwarding = path.forwarded.forget
        """What the system forwards passes the router again, until there is much of it."""
        self._senders = senders
        self._refusals = refusals
        self._is_listening = is_listening
        self._obstacle_of = obstacle_of
        self.translated = translated
        self._former: set[Hashable] = set()
        self._former_udp: set[Hashable] = set()
        self._relayed: OrderedDict[Hashable, None] = OrderedDict()
        self.forgotten: Callable[[], None] | None = None

    def take(
        self,
        packet: ip.Packet,
        policy: Policy,
        outbound: Outbound | None,
        tally: Tally,
        *,
        by_port: bool,
        now: float,
        lasts: bool = True,
    ) -> bool:
        """Send, or end, a packet that belongs to the direct path; whether it does.

        policy, outbound: what the rules say about it. by_port: whether they say otherwise about
        other protocols or ports of the destination. lasts: whether to decide so about those that
        follow.
        """
        if outbound is None or not outbound.sends_from(packet.source):
            return self._end(packet, now)
        interface = self._senders.interface(packet.source)
        may_begin = policy.path is Path.AUTO and self._obstacle_of(interface) is None
        if not may_begin and begins(packet):
            self._note_relayed(packet)
            return False
        if packet.hop_limit <= 1:
            self._refusals.refuse(packet, Error.HOP_LIMIT_EXCEEDED, Drop.HOP_LIMIT, now)
            return True
        try:
            sender = self._senders.sender(packet.source)
        except BlockingIOError:
            self._refusals.drop(Drop.NO_BUFFER)
            return True
        except (OSError, PlatformError):
            self._refusals.refuse(packet, Error.NO_ROUTE, Drop.UNREACHABLE, now)
            return True
        flow = DirectFlow(sender, packet.destination, outbound, tally)
        if lasts and may_begin and pair_of(packet) not in self._relayed:
            self.path.know(packet, flow, by_port=by_port)
            if log.isEnabledFor(logging.DEBUG):
                _log(packet, tally, interface)
        if not tally.is_counted_outside:
            tally.misses_answers = True
        self.path.send(flow, packet, now)
        self.sent.note(packet, now)
        return True

    def is_gone(self, address: bytes) -> bool:
        """Whether it was one of `owns` and is not any more."""
        return address in self._senders.gone

    def interfaces_of(self, outbound: Outbound | None) -> Collection[int]:
        """The indices of those that have an address from which packets leave directly by it."""
        return () if outbound is None else self._senders.indices(outbound.sends_from)

    def reply(self, packet: ip.Packet) -> None:
        """Send an answer of this machine itself, which no rule is about: unchanged, by the
        interface that has its source. Raises OSError, PlatformError."""
        self._senders.send(packet)

    def forget(self) -> None:
        """Rules, outbounds or addresses may have changed: decide again about everything."""
        if self.forgotten is not None:
            self.forgotten()
        known = self.path.forget()
        self.path.distinguish(by_both_ports=self.translated.are_possible())
        for former in (self._former, self._former_udp):
            if len(former) > MOST_FORMER:
                former.clear()
            former.update(known)

    def _note_relayed(self, packet: ip.Packet) -> None:
        """As long as it may have connections, nothing between its addresses goes unseen."""
        self._relayed[pair_of(packet)] = None
        if len(self._relayed) > MOST_FORMER:
            self._relayed.popitem(last=False)

    def _end(self, packet: ip.Packet, now: float) -> bool:
        """Tell the program if this has left directly before; a connection that a local server has
        accepted goes on, since no rule is about it. So does a reset: it tells the other end."""
        pair = pair_of(packet)
        if pair not in self._former:
            return False
        if packet.protocol == ip.UDP and pair in self._former_udp:
            self._former_udp.discard(pair)
            self._refusals.refuse(packet, Error.PROHIBITED, Drop.UDP_REFUSED, now)
            return True
        if packet.protocol == ip.TCP and tcp.is_whole(packet) and not tcp.is_request(packet):
            if tcp.is_reset(packet) or self._is_listening(
                packet.source, source_port(packet), self._senders.index(packet.source)
            ):
                return False
            self._refusals.reset(packet, Drop.NO_CONNECTION)
            return True
        return False


def begins(packet: ip.Packet) -> bool:
    """Whether the relayed path can carry it as the first of a flow: a TCP request, a query."""
    if packet.protocol == ip.TCP:
        return tcp.is_whole(packet) and tcp.is_request(packet)
    return packet.protocol == icmp.protocol_of(packet.version) and (
        icmp.message_type(packet) in icmp.ANSWER_TO[packet.version]
    )


def _log(packet: ip.Packet, tally: Tally, interface: str) -> None:
    log.debug(
        "leaves directly: %s to %s by %s, policy %s, %s",
        *(ip.format_address(packet.source), ip.format_address(packet.destination)),
        *(f"rule {tally.rule}" if tally.rule else "the default", tally.policy, interface),
    )
