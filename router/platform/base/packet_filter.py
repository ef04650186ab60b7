"""What the host's own rules do to packets: its packet filter and its IPsec policies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from router.platform.base.errors import PlatformError
from router.platform.base.facts import Changes
from router.policy.host_rules.model import DirectOutput, HostRules
from router.wire import ip


class TrackedRequest(NamedTuple):
    """A request of another host, as the system tracks it. is_translated: whether it has got another
    destination (DNAT)."""

    is_translated: bool


class PacketFilter(Protocol):
    """Reads rules without changing any.

    What is read holds until `watch_host_rules` reports a change, so watch first and read then. A
    system may have rules whose changes it does not report (iptables-legacy on Linux): they are seen
    only when the rules are read again, or by `request_has_unreported`.
    """

    def host_rules(self, outputs: Sequence[DirectOutput]) -> HostRules:
        """The obstacles to packets of the direct path by these outputs. Rules that cannot be read
        are an obstacle. Raises PlatformError."""
        ...

    def request_host_rules(
        self, outputs: Sequence[DirectOutput], done: Callable[[HostRules | PlatformError], None]
    ) -> None:
        """The same without waiting: `done` is called with the rules or the error, at the latest by
        GuardConnection.dispatch. Raises PlatformError."""
        ...

    def request_has_unreported(self, done: Callable[[bool | PlatformError], None]) -> None:
        """Without waiting: `done` is called with whether there are rules whose changes are not
        reported, at the latest by GuardConnection.dispatch. This costs little, as no rule is read.
        Raises PlatformError."""
        ...

    def request_of(self, packet: ip.Packet, done: Callable[[TrackedRequest | None], None]) -> None:
        """Call `done`, at the latest by GuardConnection.dispatch, with the request that a TCP
        segment, a datagram or an ICMP message answers, none of them a fragment; None where none is
        known: another host has not begun this, or the system does not track it. Raises
        PlatformError; BlockingIOError where no answer is to be expected soon."""
        ...

    def watch_host_rules(self) -> Changes:
        """Raises PlatformError where changes cannot be followed."""
        ...
