"""What the host's own rules do to packets that leave: its packet filter and its IPsec policies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from router.platform.base.errors import PlatformError
from router.platform.base.facts import Changes
from router.policy.host_rules.model import DirectOutput, HostRules


class PacketFilter(Protocol):
    """Reads rules without changing any.

    What is read holds until `watch_host_rules` reports a change, so watch first and read then. A
    system may have rules whose changes it does not report (iptables-legacy on Linux): they are seen
    only when the rules are read again.
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

    def watch_host_rules(self) -> Changes:
        """Raises PlatformError where changes cannot be followed."""
        ...
