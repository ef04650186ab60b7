"""What the router has decided about a packet, as a trace reports it.

Must not know: how it is found out, how it is shown.
"""

from __future__ import annotations

from typing import Final, NamedTuple

OUT: Final = "out"
IN: Final = "in"
FORWARD: Final = "forward"
REPLY: Final = "reply"
REJECT: Final = "reject"
DROP: Final = "drop"


class Decision(NamedTuple):
    """verdict    FORWARD, REPLY (the router itself has made the answer, or is asked for it), REJECT
               (dropped and answered by an error or a reset), DROP (dropped in silence)
    reason     of the drop, one of router.flows.drops; None where it was none
    policy     the one that applied; None where no rule is about the packet
    rule       0 for the default
    interface  that the flow leaves by
    path       RELAYED or DIRECT, see router.flows.report; None where it goes neither way
    outside, outside_port    what the source of the flow is rewritten to; None where it stays
    """

    verdict: str
    reason: str | None = None
    policy: str | None = None
    rule: int | None = None
    interface: str | None = None
    path: str | None = None
    outside: bytes | None = None
    outside_port: int | None = None


class Record(NamedTuple):
    """One line of a trace. time: seconds since 1970. length: bytes of the whole packet; of them
    `data` has the first."""

    time: float
    direction: str
    length: int
    data: bytes
    decision: Decision
