"""Connections of this machine's programs, as the system lists them."""

from __future__ import annotations

from typing import NamedTuple


class Resent(NamedTuple):
    """What a TCP connection has sent: segments with data, and the number of segments that were sent
    again, requests to connect (SYN) included. The former counts each sending of a segment."""

    segments: int
    again: int


class Traffic(NamedTuple):
    """What the system counts of a connection: of TCP alone.

    out, in     segments, and bytes of whole IP packets, headers included; what was sent again
                counts again
    idle        seconds since the last data or acknowledgement in either direction
    round_trip  seconds; None while it is not known
    resent      what was lost on the way out, as far as the sender can tell
    """

    packets_out: int
    bytes_out: int
    packets_in: int
    bytes_in: int
    idle: float
    round_trip: float | None
    resent: Resent


class Connection(NamedTuple):
    """A connected socket, or one of UDP that is not connected: then its destination is port 0, and
    its source may be no address.

    protocol    its IP number, TCP or UDP
    source, destination    4 or 16 bytes, in network order
    interface   the index of the one that it is bound to; 0 if it is bound to none
    state       in a word
    """

    protocol: int
    source: bytes
    source_port: int
    destination: bytes
    destination_port: int
    interface: int
    state: str
    traffic: Traffic | None

    @property
    def is_connected(self) -> bool:
        return self.destination_port > 0
