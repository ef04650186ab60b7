"""What there is none of on macOS: packets leave through the router alone, so nothing of the host's
packet filter, of answers that pass it by, or of neighbours' link addresses is asked for."""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Final

from router.platform.base.answers import NumberedPrefix, Place
from router.platform.base.errors import PlatformError
from router.platform.base.packet_filter import TrackedRequest
from router.policy.host_rules.model import DirectOutput, HostRules
from router.wire import ip

RELAYED: Final = "macOS has no direct path"
LIMITS: Final = (
    "the packet filter of macOS (pf) is not read: whether it drops answers is not known",
)


def relayed(interfaces: Iterable[str]) -> HostRules:
    """That no packet may leave directly by any of these."""
    return HostRules(dict.fromkeys(interfaces, RELAYED))


class NoChanges:
    """See Changes: becomes readable never."""

    def __init__(self) -> None:
        self._ours, self._other = socket.socketpair()
        self.fileno = self._ours.fileno

    def drain(self) -> None: ...

    def close(self) -> None:
        self._ours.close()
        self._other.close()


class NoPacketFilter:
    """See PacketFilter: every interface has the same obstacle."""

    def host_rules(self, outputs: Sequence[DirectOutput]) -> HostRules:
        return relayed(output.interface for output in outputs)

    def request_host_rules(
        self, outputs: Sequence[DirectOutput], done: Callable[[HostRules | PlatformError], None]
    ) -> None:
        done(self.host_rules(outputs))

    def request_has_unreported(self, done: Callable[[bool | PlatformError], None]) -> None:
        done(False)

    def request_of(self, packet: ip.Packet, done: Callable[[TrackedRequest | None], None]) -> None:
        del packet
        done(None)

    def watch_host_rules(self) -> NoChanges:
        return NoChanges()


class NoCounters:
    """See AnswerCounters: has room for no counter, and counts nothing."""

    most = 0

    def count(self, prefixes: Collection[NumberedPrefix], places: Collection[Place]) -> None:
        del prefixes, places

    def read(self, counter: int) -> tuple[int, int]:
        del counter
        return 0, 0

    def close(self) -> None: ...
