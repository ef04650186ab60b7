"""Replies of this machine itself that entered the TUN, which no rule is about.

Must not know: rules.
"""

from __future__ import annotations

from router.engine.direct.decisions import Direct
from router.flows.drops import Drop, Drops
from router.platform.base.errors import PlatformError
from router.wire import icmp, ip, tcp


class LocalReplies:
    """Sent unchanged, by the interface that has their source."""

    def __init__(self, direct: Direct, drops: Drops) -> None:
        self._direct = direct
        self._drops = drops

    def send(self, packet: ip.Packet) -> None:
        """Dropped and counted where there is no room or no such interface."""
        try:
            self._direct.reply(packet)
        except (OSError, PlatformError):
            self._drops.count(Drop.NO_BUFFER)


def is_answer(packet: ip.Packet) -> bool:
    """Whether nothing sends this unsolicited: a segment that asks for no connection, and all ICMP
    but queries (and errors, which are judged by what they quote)."""
    if packet.protocol == ip.TCP:
        return tcp.is_whole(packet) and not tcp.is_request(packet)
    return packet.protocol == icmp.protocol_of(packet.version) and (
        icmp.message_type(packet) not in icmp.ANSWER_TO[packet.version]
    )
