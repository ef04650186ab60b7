"""What has left directly without a connection: queries of ICMP, and datagrams by their ports, of
which the system has no list.

A packet is noted when it is decided on, and then as it leaves: datagrams once in a turn of the
loop, queries once in LOOK_INTERVAL between two addresses. So it is known which flows there are and
when the last packet left; how many there were is not.

Always true: at most MOST flows are kept, the one that began first is forgotten first. `first` is
the time of a flow's first packet, or None where an earlier one may have been forgotten.

Must not know: rules; which sockets there are.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

from router.wire import icmp, ip, udp
from router.wire.headers import ICMP_HEADER, PORTS
from router.wire.offload import AT_V4_ADDRESSES, AT_V6_ADDRESSES, HEADER

MOST: Final = 4096
LOOK_INTERVAL: Final = 0.001
"""Seconds."""
IDLE: Final = 60.0
"""Seconds after which a flow has ended, as one of the relayed path that is answered (RFC 5508,
REQ-2)."""
UNKNOWN: Final = float("-inf")
ADDRESSES: Final = {4: 4, 6: 16}
_AT_V4_QUERY: Final = AT_V4_ADDRESSES + 8
_AT_V6_QUERY: Final = AT_V6_ADDRESSES + 32
_WITHOUT_OPTIONS: Final = 0x45


class SentFlow(NamedTuple):
    """key: addresses, and both ports or type and identifier. first, last: seconds of the loop's
    clock."""

    version: int
    protocol: int
    key: bytes
    first: float | None
    last: float

    @property
    def source(self) -> bytes:
        return self.key[: ADDRESSES[self.version]]

    @property
    def destination(self) -> bytes:
        size = ADDRESSES[self.version]
        return self.key[size : 2 * size]

    @property
    def ports(self) -> tuple[int, int]:
        """Of ICMP the identifier, twice."""
        last = int.from_bytes(self.key[-2:])
        return (int.from_bytes(self.key[-4:-2]) if self.protocol == ip.UDP else last), last


class SentFlows:
    def __init__(self) -> None:
        self._times: OrderedDict[bytes, list[float]] = OrderedDict()
        """First and last packet, by key; in the order of the first."""
        self._forgot = UNKNOWN

    def note(self, packet: ip.Packet, now: float) -> None:
        """One that has just been decided on."""
        ends, body = packet.source + packet.destination, packet.body
        if packet.is_fragment:
            return
        if packet.protocol == ip.UDP and len(body) >= udp.HEADER:
            self.note_key(ends + bytes(body[:PORTS]), now)
        elif packet.protocol == icmp.protocol_of(packet.version) and len(body) >= ICMP_HEADER:
            self.note_key(ends + bytes(body[:1]) + bytes(body[4:6]), now)

    def note_query(self, frame: bytearray, now: float) -> None:
        """A frame of the TUN with a message of ICMP."""
        if frame[HEADER] == _WITHOUT_OPTIONS:
            begin, at = AT_V4_ADDRESSES, _AT_V4_QUERY
        elif frame[HEADER] >> 4 == 6:
            begin, at = AT_V6_ADDRESSES, _AT_V6_QUERY
        else:
            return
        self.note_key(bytes(frame[begin : at + 1] + frame[at + 4 : at + 6]), now)

    def note_key(self, key: bytes, now: float) -> None:
        """A packet of the flow with a key."""
        times = self._times.get(key)
        if times is not None:
            times[1] = now
        else:
            self._add(key, now)

    def times(self, key: bytes, now: float) -> tuple[float | None, float] | None:
        """When the first and the last packet of a flow left, if it is live."""
        times = self._times.get(key)
        if times is None or now - times[1] >= IDLE:
            return None
        return (None if times[0] == UNKNOWN else times[0]), times[1]

    def live(self, now: float) -> list[SentFlow]:
        """Those of which a packet has left in the last IDLE seconds, the latest first."""
        found = []
        for key in self._times:
            times = self.times(key, now)
            flow = None if times is None else _flow(key, *times)
            if flow is not None:
                found.append(flow)
        return sorted(found, key=lambda flow: flow.last, reverse=True)

    def _add(self, key: bytes, now: float) -> None:
        """One that is not known, or not any more."""
        if len(self._times) >= MOST:
            _, (_, last) = self._times.popitem(last=False)
            if now - last < IDLE:
                self._forgot = now
        self._times[key] = [now if now - self._forgot >= IDLE else UNKNOWN, now]


def _flow(key: bytes, first: float | None, last: float) -> SentFlow | None:
    """None where it is no query."""
    version = 4 if len(key) < 2 * ADDRESSES[6] else 6
    size = 2 * ADDRESSES[version]
    if len(key) == size + PORTS:
        return SentFlow(version, ip.UDP, key, first, last)
    if key[size] not in icmp.ANSWER_TO[version]:
        return None
    return SentFlow(version, icmp.protocol_of(version), key, first, last)
