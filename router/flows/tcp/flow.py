"""One connection, and when it ends in each of its states; see router.flows.tcp.

Must not know: the other flows.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from router.flows import flow as common
from router.flows.expiry import NEVER
from router.flows.flow import OutboundT
from router.flows.numbers import NONE_LEFT
from router.flows.shares import Shares
from router.flows.tally import Tally
from router.wire import ip

TRANSITORY: Final = 240.0
"""RFC 5382 REQ-5 requires 4 minutes at least."""
ESTABLISHED: Final = 7440.0
"""RFC 5382 REQ-5 requires 2 hours 4 minutes at least."""
TIME_WAIT: Final = 60.0
"""Seconds for which Linux keeps a closed connection (TCP_TIMEWAIT_LEN)."""
FIRST_PATIENCE: Final = 4.0
"""Seconds for the second request; the first comes after one (RFC 6298), or three (RFC 1122)."""
CROWDED_TRANSITORY: Final = 10.0
"""Seconds in each of the first two states when many flows are in them: enough for three requests
by RFC 6298. Less than REQ-5 allows, which is for a NAT that has room."""
LISTENERS_FIN: Final = 2
BOTH_FINS: Final = 3
PATIENCE_FACTOR: Final = 2.5
"""Requests are repeated at intervals that double at most."""


class State(Enum):
    """See the table in router.flows.tcp."""

    DIALLING = "dialling"
    OPENING = "opening"
    RELAYED = "relayed"
    LINGERING = "lingering"


class Flow(common.Flow[OutboundT]):
    """One connection.

    key         source, destination and both ports of the application's segments
    request     its SYN, a whole packet; empty once accepted
    sequence    the sequence number of that
    alias       source, destination and both ports of the segments to the listener
    answer_key  the same of the listener's segments
    fins        1 if the application has sent a FIN, plus 2 if the listener has
    traffic_class   of the application's last segment; set by the code that forwards
    unanswered      requests that went to the listener since its last answer; likewise
    asked           the table's `emptied` when the last of these went there
    since           when it got into its state, of the first two
    number          that of its alias
    """

    __slots__ = (
        "_half_open",
        "alias",
        "answer_key",
        "asked",
        "due",
        "fins",
        "interval",
        "last",
        "number",
        "outbound",
        "request",
        "sequence",
        "since",
        "source",
        "state",
        "traffic_class",
        "unanswered",
    )

    last: float
    outbound: OutboundT
    source: bytes

    def __init__(
        self,
        key: bytes,
        request: bytes,
        sequence: int,
        outbound: OutboundT,
        tally: Tally,
        now: float,
        half_open: Shares,
    ) -> None:
        super().__init__(key, tally, now)
        self.source = source_of(key)
        self._half_open = half_open
        self.since = now
        self.number = NONE_LEFT
        self.request = request
        self.sequence = sequence
        self.outbound = outbound
        self.state = State.DIALLING
        self.last = now
        self.due = NEVER
        self.interval = 0.0
        self.alias = b""
        self.answer_key = b""
        self.fins = 0
        self.traffic_class = self.unanswered = self.asked = 0

    @property
    def protocol(self) -> int:
        return ip.TCP

    @property
    def source_port(self) -> int:
        return int.from_bytes(self.key[-4:-2], "big")

    @property
    def destination_port(self) -> int:
        return int.from_bytes(self.key[-2:], "big")

    @property
    def after_request(self) -> int:
        """The sequence number of a reset by which the application gives up once it has a reply."""
        return (self.sequence + 1) & 0xFFFFFFFF

    def repeated(self, now: float) -> None:
        """Note that the application has retransmitted its request."""
        self.interval = max(self.interval, now - self.last)
        self.last = now

    def expires(self, now: float) -> float:
        """See router.flows.expiry. A flow that dials expires when the application would have
        retransmitted its request if it were still waiting; of an established flow, this is when it
        may be ended to make room. A FIN can bring the end of one that lingers forward to TIME_WAIT
        seconds from now, and a crowd that of one that is not established to CROWDED_TRANSITORY."""
        match self.state:
            case State.DIALLING:
                patience = max(FIRST_PATIENCE, self.interval * PATIENCE_FACTOR)
                return self._in_a_crowd(self.last + patience, now)
            case State.OPENING:
                return self._in_a_crowd(self.last + TRANSITORY, now)
            case State.RELAYED:
                return self.last + ESTABLISHED
            case State.LINGERING if self.fins == BOTH_FINS:
                return self.last + TIME_WAIT
            case State.LINGERING:
                return min(self.last + TRANSITORY, now + TIME_WAIT)

    def _in_a_crowd(self, otherwise: float, now: float) -> float:
        if self._half_open.is_crowded:
            return min(otherwise, self.since + CROWDED_TRANSITORY)
        return min(otherwise, now + CROWDED_TRANSITORY)


def source_of(key: bytes) -> bytes:
    """Source address of the segments of a key."""
    return key[: (len(key) - 4) // 2]


def mirrored(key: bytes) -> bytes:
    """The key of the segments in the other direction."""
    size = (len(key) - 4) // 2
    return key[size : 2 * size] + key[:size] + key[-2:] + key[-4:-2]
