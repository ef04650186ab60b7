"""Packets that the router sends itself: errors, resets and the answers of `reply`.

Always true: what is refused is counted, whether or not an answer is sent; no error is about an
ICMP error or a fragment other than the first, and errors are limited to a rate
(RFC 1812 4.3.2.7, RFC 4443 2.4 e and f).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from router.engine.tun_writer import TunWriter
from router.flows.drops import Drop, Drops
from router.flows.limiter import TokenBucket
from router.wire import icmp, ip, tcp
from router.wire.icmp import Error

ERRORS_PER_SECOND: Final = 1000
ERROR_BURST: Final = 200


class Refusals:
    """Answers in the router's own name.

    peers: by IP version, the address on the TUN that is not ours: the router, as others see it.
    """

    def __init__(self, writer: TunWriter, drops: Drops, peers: Mapping[int, bytes]) -> None:
        self.replies = 0
        self.peers = peers
        self._writer = writer
        self._drops = drops
        self._errors = TokenBucket(ERRORS_PER_SECOND, ERROR_BURST)

    def refuse(
        self, packet: ip.Packet, what: Error, reason: Drop, now: float, value: int = 0
    ) -> None:
        """Count, and send an error. `value` is the MTU or pointer that some errors carry."""
        self._drops.count(reason)
        if packet.fragment_offset or icmp.is_error(packet) or not self._errors.take(now):
            return
        source = self.peers.get(packet.version, packet.destination)
        self._writer.deliver(icmp.error(source, packet, what, value))

    def drop(self, reason: Drop) -> None:
        """Count, and send nothing: the sender repeats what it needs."""
        self._drops.count(reason)

    def pass_on(self, packet: ip.Packet, error: tuple[int, int, int], source: bytes | None) -> None:
        """Count a connection that could not be opened, and send its sender the error of `source`:
        type, code and value of an ICMP error. None stands for the router itself."""
        self._drops.count(Drop.CONNECT_FAILED)
        source = source or self.peers.get(packet.version, packet.destination)
        self._writer.deliver(icmp.error_of_type(source, packet, *error))

    def refuse_uncarried(self, packet: ip.Packet, now: float) -> None:
        """A packet that its outbound does not carry."""
        if packet.protocol == ip.TCP:
            self.reset(packet, Drop.TCP_REFUSED)
        elif packet.protocol == ip.UDP:
            self.refuse(packet, Error.PROHIBITED, Drop.UDP_REFUSED, now)
        elif packet.protocol == icmp.protocol_of(packet.version):
            self.refuse(packet, Error.PROHIBITED, Drop.ICMP_TYPE, now)
        else:
            self.refuse_protocol(packet, now)

    def refuse_protocol(self, packet: ip.Packet, now: float) -> None:
        """The IPv6 error points at the field that names the protocol (RFC 4443, section 3.4)."""
        pointer = packet.protocol_field if packet.version == 6 else 0
        self.refuse(packet, Error.PROTOCOL_UNREACHABLE, Drop.PROTOCOL_REFUSED, now, pointer)

    def reset(self, segment: ip.Packet, reason: Drop) -> None:
        """Count, and reset the connection."""
        self._drops.count(reason)
        answer = tcp.reset(segment)
        if answer is not None:
            self._writer.deliver(answer)

    def reject(self, packet: ip.Packet, now: float) -> None:
        """Policy `reject`."""
        if packet.protocol == ip.TCP:
            self.reset(packet, Drop.REJECTED)
        else:
            self.refuse(packet, Error.PROHIBITED, Drop.REJECTED, now)

    def reply(self, packet: ip.Packet, now: float) -> bool:
        """Policy `reply`: an echo request is answered, everything else is rejected; whether there
        was an answer."""
        if not icmp.is_echo_request(packet):
            self.reject(packet, now)
        elif not icmp.has_valid_checksum(packet):
            self._drops.count(Drop.BAD_CHECKSUM)
        else:
            self.replies += 1
            self._writer.deliver(icmp.echo_reply(packet))
            return True
        return False

    def as_host(self, packet: ip.Packet, now: float) -> None:
        """A packet to the router's own address, which answers pings and has no port open."""
        if icmp.is_echo_request(packet):
            self.reply(packet, now)
        elif packet.protocol == ip.TCP:
            self.reset(packet, Drop.TCP_REFUSED)
        elif packet.protocol == ip.UDP:
            self.refuse(packet, Error.PORT_UNREACHABLE, Drop.UDP_REFUSED, now)
        else:
            self.refuse_protocol(packet, now)
