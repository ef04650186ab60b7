"""Proxies that report success before they have connected.

Theory of operation. Some answer a request at once and connect afterwards (shadowsocks). Where that
fails they can only end the connection that they have called open, which looks as if the destination
had accepted and ended it. So where a connection ends before a byte came, a request is made for one
that cannot exist: TCP has no connections to multicast addresses (RFC 9293, MUST-57), so a proxy
that answers after its connect() refuses it without a packet. Until its reply is there, the end is
held back. A proxy that reports success there is recognised, for KEPT seconds: such ends of its
connections are resets.

Always true: each end is decided on once, within PATIENCE seconds; at most one such request is
open.

Must not know: relays, flows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from router.outbound.descriptors import Descriptors
from router.outbound.socks5.conversation import Conversation
from router.outbound.socks5.found import Found
from router.outbound.socks5.tools import Loop
from router.policy.proxies import ProxyLack
from router.wire.socks5 import SUCCEEDED, Command, Fault, Reply, request

NOWHERE: Final = bytes((224, 0, 0, 1))
"""All hosts of a link (RFC 1112, section 4)."""
DISCARD: Final = 9
PATIENCE: Final = 3.0
KEPT: Final = 600.0

Talk = Callable[[bytes, Callable[[int], None]], Conversation]
Decided = Callable[[bool], None]
"""Called with whether the connection is to end by a reset."""


class EarlySuccess:
    """Of one proxy. talk: makes a request."""

    def __init__(self, talk: Talk, found: Found, loop: Loop, descriptors: Descriptors) -> None:
        self._talk = talk
        self._found = found
        self._loop = loop
        self._descriptors = descriptors
        self._probe: Conversation | None = None
        self._waiting: list[Decided] = []
        self._not_early_until = float("-inf")

    def decide(self, decided: Decided) -> None:
        """Of an end before a byte came: at once, or once the proxy has answered."""
        is_early = self._found.lacks(ProxyLack.EARLY)
        if is_early or self._loop.now < self._not_early_until:
            decided(is_early)
            return
        self._waiting.append(decided)
        if self._probe is None:
            self._begin()

    def close(self) -> None:
        if self._probe is not None:
            self._answer(None)

    def _begin(self) -> None:
        if not self._descriptors.take(1):
            self._report(is_early=False)
            return
        command = request(Command.CONNECT, NOWHERE, DISCARD)
        probe = self._probe = self._talk(command, lambda _event: self._look(probe))
        self._loop.call_later(PATIENCE, lambda: self._give_up(probe))
        self._look(probe)

    def _look(self, probe: Conversation) -> None:
        if probe is not self._probe or probe.outcome is None:
            return
        outcome = probe.outcome
        if isinstance(outcome, Reply):
            self._answer(outcome.code == SUCCEEDED)
        else:  # an end in place of a reply is a refusal, as ssh refuses; other faults are none
            self._answer(False if outcome is Fault.ENDED else None)

    def _give_up(self, probe: Conversation) -> None:
        """What has not answered has not said that it has connected."""
        if probe is self._probe:
            self._answer(is_early=False)

    def _answer(self, is_early: bool | None) -> None:
        """None: it is not known, and the next end asks again."""
        assert self._probe is not None, "there is an answer to a probe"
        self._probe.abandon()
        self._probe = None
        self._descriptors.give_back(1)
        if is_early:
            self._found.add(ProxyLack.EARLY, KEPT)
        elif is_early is False:
            self._not_early_until = self._loop.now + KEPT
        self._report(is_early=bool(is_early))

    def _report(self, *, is_early: bool) -> None:
        waiting, self._waiting = self._waiting, []
        for decided in waiting:
            decided(is_early)
