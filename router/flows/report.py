"""A flow as it is reported: the common form of those of both paths.

relayed    translated by the router, which has them in its tables
direct     sent unchanged; only the system knows them as connections

Must not know: tables, sockets, how a report is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from router.wire import ip

PROTOCOLS: Final = {ip.ICMP: "icmp", ip.ICMPV6: "icmp", ip.TCP: "tcp", ip.UDP: "udp"}
NAMES: Final = tuple(sorted(set(PROTOCOLS.values())))
RELAYED: Final = "relayed"
DIRECT: Final = "direct"


class FlowReport(NamedTuple):
    """What is known of one flow. Addresses are bytes in network order, 4 or 16 of them; times are
    in seconds; None stands for what is not known, or does not exist.

    protocol    its IP number
    source_port, destination_port    for ICMP both are the identifier
    rule        0 for the default
    interface   that its packets leave by, or several, joined by commas
    outside, outside_port    what its source became; None where it stayed
    segments_out, segments_resent    those with data that TCP has sent by the outbound, and how many
                                     segments of any kind it has sent again
    """

    path: str
    protocol: int
    source: bytes
    source_port: int
    destination: bytes
    destination_port: int
    policy: str
    rule: int
    interface: str | None
    outside: bytes | None
    outside_port: int | None
    state: str
    age: float | None
    idle: float | None
    packets_out: int | None
    bytes_out: int | None
    packets_in: int | None
    bytes_in: int | None
    round_trip: float | None
    segments_out: int | None = None
    segments_resent: int | None = None


class FlowFilter(NamedTuple):
    """Which flows are asked for; None: any. rule: 0 for the default. protocol: one of NAMES."""

    policy: str | None = None
    rule: int | None = None
    protocol: str | None = None

    def admits(self, policy: str, rule: int) -> bool:
        """Whether flows of a policy because of a rule are."""
        return self.policy in (None, policy) and self.rule in (None, rule)

    def of(self, reports: Iterable[FlowReport]) -> Iterator[FlowReport]:
        """Those that are."""
        for report in reports:
            if self.admits(report.policy, report.rule) and self.protocol in (
                None,
                PROTOCOLS[report.protocol],
            ):
                yield report
