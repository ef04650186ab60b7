"""The state of a TCP connection by TCP_CONNECTION_INFO (netinet/tcp.h:254-301), and what of TcpInfo
that has.

Not there: when something has last arrived; which bytes came twice, so that a stream of which some
were repeated counts them (netinet/tcp_usrreq.c:2085).
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from router.platform.base.connections import Resent
from router.platform.base.tcp import TcpInfo

CONNECTION_INFO: Final = Struct("<B31xI8xI8xQ16xQQ8xQ")
"""Of struct tcp_connection_info: tcpi_state, tcpi_snd_sbbytes, tcpi_srtt, tcpi_txpackets,
tcpi_rxpackets, tcpi_rxbytes, tcpi_txretransmitpackets."""

CLOSED: Final = 0
CLOSE_WAIT: Final = 5
CLOSING: Final = 7
LAST_ACK: Final = 8
TIME_WAIT: Final = 10
"""netinet/tcp_fsm.h:75-88"""
OVER: Final = frozenset({CLOSED, TIME_WAIT})
HAS_GOT_THE_END: Final = frozenset({CLOSE_WAIT, CLOSING, LAST_ACK, TIME_WAIT})
"""The end of the stream has no byte of its own in tcpi_rxbytes."""


class ConnectionInfo(NamedTuple):
    """queued: bytes that are not acknowledged, or not sent yet. round_trip: milliseconds; 0 before
    the first sample. sent, resent, received: segments. bytes_received: with those that came
    twice."""

    state: int
    queued: int
    round_trip: int
    sent: int
    received: int
    bytes_received: int
    resent: int


def parse_connection_info(data: bytes) -> ConnectionInfo:
    """Raises struct.error of fewer bytes."""
    return ConnectionInfo(*CONNECTION_INFO.unpack_from(data))


def tcp_info(found: ConnectionInfo) -> TcpInfo:
    return TcpInfo(
        found.received & 0xFFFFFFFF,
        found.bytes_received + (found.state in HAS_GOT_THE_END),
        None,
        found.queued > 0,
        found.round_trip / 1000 or None,
        Resent(found.sent, found.resent),
    )
