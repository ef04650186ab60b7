"""Why a packet was not forwarded: the one list of reasons, each of them counted.

A reason is what a user reads in `status` and in the summary at the end, so it says what was wrong
with the packet or which limit was met, not where in the code that was found.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum


class Drop(StrEnum):
    """A reason. The first group was answered with an error or a reset, the second with silence."""

    REJECTED = "rejected"
    """By a `reject` rule, or by a policy that is down and rejects."""
    TCP_REFUSED = "tcp-refused"
    """TCP by a way out that carries no TCP, or to the router itself."""
    CONNECT_FAILED = "connect-failed"
    """TCP, and the other side refused it or could not be reached: as it said itself."""
    NO_CONNECTION = "no-connection"
    """A TCP segment in the middle of a connection that the router does not know."""
    UDP_REFUSED = "udp-refused"
    """UDP by a way out that carries no UDP."""
    PROTOCOL_REFUSED = "protocol-refused"
    """Any other protocol, and ICMP queries that cannot be forwarded."""
    HOP_LIMIT = "hop-limit"
    """TTL or hop limit used up."""
    UNREACHABLE = "unreachable"
    """The way out has no route or no address for it."""
    TOO_BIG = "too-big"
    """Larger than the way out carries, and not to be fragmented."""
    TABLE_FULL = "table-full"
    """No room for another flow: too many, or no descriptor, port or memory left for it."""

    POLICY = "drop"
    """By a `drop` rule."""
    LOOP = "loop"
    """A packet that we sent came back to us."""
    MALFORMED = "malformed"
    """Not an IP packet, or cut off."""
    BAD_CHECKSUM = "bad-checksum"
    BAD_SOURCE = "bad-source"
    """A source that no host can have."""
    MULTICAST = "multicast"
    """To a group, to all, or to this link only."""
    FRAGMENT = "fragment"
    """A fragment that could not be put together."""
    ICMP_TYPE = "icmp-type"
    """An ICMP message that is never forwarded."""
    NO_BINDING = "no-binding"
    """From outside, and belongs to no flow of ours."""
    FILTERED = "filtered"
    """From a host that the flow has never sent to."""
    NO_BUFFER = "no-buffer"
    """The way out, or the TUN, took no more at that moment."""


class Drops:
    """Counters of what was not forwarded, by reason."""

    def __init__(self) -> None:
        self._counts: Counter[Drop] = Counter()

    def count(self, reason: Drop) -> None:
        self._counts[reason] += 1

    def __getitem__(self, reason: Drop) -> int:
        return self._counts[reason]

    def total(self) -> int:
        return self._counts.total()

    def nonzero(self) -> dict[str, int]:
        """The counts that are not zero, in the order of the list of reasons."""
        return {reason.value: self._counts[reason] for reason in Drop if self._counts[reason]}
