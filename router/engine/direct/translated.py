"""Answers to requests that the host has given another destination: of published ports (DNAT), by a
host behind this machine, and of redirected ones, by this machine.

The host translates an answer back as it goes into the TUN, so it comes from an address of this
machine. A raw socket would show it to connection tracking a second time, as another connection
whose answers clash with the first; then its port is changed, or it is dropped as invalid. So it
leaves by the packet socket, which passes by the host's rules: they have judged it on its way into
the TUN. docs/adr/016-direct-path.md has the ways that were tried.

A decision lasts, so none is made where connection tracking has not answered in time: the first
answer of a connection is dropped, as it is repeated, and anything else goes on by itself.

Always true: what leaves so belongs to a request of the other host that the system tracks, and by
the interface that has its source. Nothing is asked where the host translates no requests.

Must not know: rules.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from router.engine.direct.flow import DirectFlow
from router.engine.direct.path import DirectPath
from router.engine.tracked_requests import UNANSWERED, Found, TrackedRequests
from router.flows.tally import Tally
from router.outbound.direct import DirectSender, DirectSenders
from router.platform.base.errors import PlatformError
from router.platform.base.sockets import FrameSocket
from router.wire import icmp, ip, tcp, udp
from router.wire.headers import fill_in_v4_checksum
from router.wire.offload import HEADER, NOTHING_LEFT

TallyOf = Callable[[ip.Packet], Tally]
Otherwise = Callable[[ip.Packet, float, bool], None]
"""Goes on with a packet that is no such answer; or, where the last is false, may be one."""


class TranslatedFlow(DirectFlow):
    """Answers of one translated request. The system has taken a hop off their limit already."""

    __slots__ = ("_frames",)

    def __init__(
        self, sender: DirectSender, frames: FrameSocket, destination: bytes, tally: Tally
    ) -> None:
        super().__init__(sender, destination, None, tally, hops=0)
        self._frames = frames
        self.send = self._send

    def sample(self, _ports: bytes, _now: float) -> bool:
        """Nothing is to be judged."""
        return False

    def connect(self) -> None:
        """It has no raw socket."""

    def _send(self, packet: bytes | bytearray | memoryview, _address: tuple[str, int]) -> int:
        """As DirectSender.send."""
        frame = bytearray(NOTHING_LEFT) + packet
        if frame[HEADER] >> 4 == 4:
            fill_in_v4_checksum(frame, HEADER, HEADER + ((frame[HEADER] & 0x0F) << 2))
        self._frames.send_when_resolved(frame, self.destination)
        return len(packet)


class TranslatedAnswers:
    """translates: whether the host may translate requests of others."""

    def __init__(
        self,
        path: DirectPath,
        senders: DirectSenders,
        requests: TrackedRequests,
        translates: Callable[[], bool],
    ) -> None:
        self.are_possible = translates
        self._path = path
        self._senders = senders
        self._requests = requests

    def take(self, packet: ip.Packet, now: float, tally_of: TallyOf, otherwise: Otherwise) -> bool:
        """Send a whole packet from an address of this machine, if it is such an answer; False if it
        is none. Where that is still to be found out it is kept, and goes `otherwise` if it is
        none."""
        if not may_answer(packet):
            return False
        if refuses_request(packet):
            return self._send(packet, tally_of(packet), now, goes_on=False)
        self._requests.find(packet, partial(self._found, tally_of, otherwise), now)
        return True

    def _found(
        self,
        tally_of: TallyOf,
        otherwise: Otherwise,
        packet: ip.Packet,
        request: Found,
        now: float,
    ) -> None:
        if request is UNANSWERED:
            otherwise(packet, now, False)
            return
        is_translated = request is not None and request.is_translated
        if not is_translated or not self._send(packet, tally_of(packet), now, goes_on=True):
            otherwise(packet, now, True)

    def _send(self, packet: ip.Packet, tally: Tally, now: float, *, goes_on: bool) -> bool:
        """Whether that was possible. goes_on: more packets of the request may follow."""
        try:
            sender = self._senders.sender(packet.source)
        except (OSError, PlatformError):
            return False
        if sender.frames is None:
            return False
        flow = TranslatedFlow(sender, sender.frames, packet.destination, tally)
        if goes_on:
            self._path.know(packet, flow, by_port=True)
        self._path.send(flow, packet, now)
        return True


def refuses_request(packet: ip.Packet) -> bool:
    """Whether it is a reset that answers a request: connection tracking forgets the request when it
    sees the answer for the first time (nf_conntrack_tcp_packet), and drops it as invalid when it
    sees it again."""
    return (
        packet.protocol == ip.TCP
        and tcp.answers_request(packet)
        and bool(tcp.flags(packet) & tcp.RST)
    )


def may_answer(packet: ip.Packet) -> bool:
    """Whether a packet can answer a request of another host, and tells which."""
    if packet.protocol == ip.TCP:
        return tcp.is_whole(packet) and not tcp.is_request(packet)
    if packet.protocol == ip.UDP:
        return len(packet.body) >= udp.HEADER
    return packet.protocol == icmp.protocol_of(packet.version) and (
        icmp.message_type(packet) in icmp.REQUEST_OF[packet.version]
    )
