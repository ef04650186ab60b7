"""Why a packet was not forwarded: the one list of reasons, each of them counted.

Users read a reason in `status` and in the summary at the end, so it names what was wrong with the
packet or which limit was reached, not the place in the code.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from enum import StrEnum


class Drop(StrEnum):
    """A reason. The first group was answered with an error or a reset, the second with silence."""

    REJECTED = "rejected"
    """By a `reject` rule, or by a policy that is down and rejects."""
    TCP_REFUSED = "tcp-refused"
    """TCP by an outbound that carries no TCP, or to the router itself."""
    CONNECT_FAILED = "connect-failed"
    """TCP that the destination refused, or that the network reported as unreachable."""
    NO_CONNECTION = "no-connection"
    """A TCP segment that is no request and belongs to no flow."""
    UDP_REFUSED = "udp-refused"
    """UDP by an outbound that carries no UDP."""
    PROTOCOL_REFUSED = "protocol-refused"
    """Any other protocol, and ICMP queries that cannot be forwarded."""
    REFUSED_BY_HOST = "refused-by-host"
    """By the firewall of this machine: on its way out, or TCP on its way to the router."""
    HOP_LIMIT = "hop-limit"
    """TTL or hop limit used up."""
    UNREACHABLE = "unreachable"
    """The outbound has no route or no address for it."""
    TOO_BIG = "too-big"
    """Larger than the path MTU of the outbound, and not to be fragmented."""
    TABLE_FULL = "table-full"
    """No room for another flow: too many, or no descriptor, port or memory left."""

    POLICY = "drop"
    """By a `drop` rule."""
    LOOP = "loop"
    """A packet of ours that came back by the TUN."""
    MALFORMED = "malformed"
    """Not an IP packet, or cut off."""
    BAD_CHECKSUM = "bad-checksum"
    BAD_SOURCE = "bad-source"
    """A source that no host can have."""
    MULTICAST = "multicast"
    """To a multicast group, a broadcast, loopback or link-local address."""
    FRAGMENT = "fragment"
    """A fragment that could not be put together."""
    ICMP_TYPE = "icmp-type"
    """An ICMP message that is never forwarded."""
    NO_BINDING = "no-binding"
    """From outside, and belongs to no flow."""
    FILTERED = "filtered"
    """From a host that the flow has never sent to."""
    HELD_OFF = "held-off"
    """Of a source that begins more than its share while the router is busy."""
    NO_BUFFER = "no-buffer"
    """The outbound or the TUN had no buffer space for it."""


class Drops:
    """Counters of what was not forwarded, by reason.

    observe: called with each reason; None unless packets are traced.
    """

    def __init__(self) -> None:
        self.observe: Callable[[Drop], None] | None = None
        self._counts: Counter[Drop] = Counter()

    def count(self, reason: Drop) -> None:
        self._counts[reason] += 1
        if self.observe is not None:
            self.observe(reason)

    def __getitem__(self, reason: Drop) -> int:
        return self._counts[reason]

    def total(self) -> int:
        return self._counts.total()

    def nonzero(self) -> dict[str, int]:
        """The counts that are not zero, in the order of the list of reasons."""
        return {reason.value: self._counts[reason] for reason in Drop if self._counts[reason]}
