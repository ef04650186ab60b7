"""Proxies that report success before they have connected.

Theory of operation. Some answer a request at once and connect afterwards (shadowsocks). Where that
fails they can only end the connection that they have called open, which looks as if the destination
had accepted and ended it. So where a connection ends before a byte came, a request is made for one
that cannot exist: TCP has no connections to multicast addresses (RFC 9293, MUST-57), so a proxy
that answers after its connect() refuses it without a packet. Until its reply is there, the end is
held back. A proxy that reports success there is recognised, for KEPT seconds: such ends of its
connections are resets.

Always true: each end is judged once, within PATIENCE seconds; at most one such request is open.

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
Judged = Callable[[bool], None]
"""Called with whether the connection is to end by a reset."""


class EarlySuccess:
    """Of one proxy. talk: makes a request."""

    def __init__(self, talk: Talk, found: Found, loop: Loop, descriptors: Descriptors) -> None:
        self._talk = talk
        self._found = found
        self._loop = loop
        self._descriptors = descriptors
        self._question: Conversation | None = None
        self._waiting: list[Judged] = []
        self._honest_until = float("-inf")

    def judge(self, judged: Judged) -> None:
        """Of an end before a byte came: at once, or once the proxy has answered."""
        is_early = self._found.lacks(ProxyLack.EARLY)
        if is_early or self._loop.now < self._honest_until:
            judged(is_early)
            return
        self._waiting.append(judged)
        if self._question is None:
            self._ask()

    def close(self) -> None:
        if self._question is not None:
            self._answer(None)

    def _ask(self) -> None:
        if not self._descriptors.take(1):
            self._tell(is_early=False)
            return
        asked = request(Command.CONNECT, NOWHERE, DISCARD)
        question = self._question = self._talk(asked, lambda _event: self._look(question))
        self._loop.call_later(PATIENCE, lambda: self._give_up(question))
        self._look(question)

    def _look(self, question: Conversation) -> None:
        if question is not self._question or question.outcome is None:
            return
        outcome = question.outcome
        if isinstance(outcome, Reply):
            self._answer(outcome.code == SUCCEEDED)
        else:  # an end in place of a reply is a refusal, as ssh refuses; others say nothing
            self._answer(False if outcome is Fault.ENDED else None)

    def _give_up(self, question: Conversation) -> None:
        """What has not answered has not said that it has connected."""
        if question is self._question:
            self._answer(is_early=False)

    def _answer(self, is_early: bool | None) -> None:
        """None: it is not known, and the next end asks again."""
        assert self._question is not None, "there is an answer to a question"
        self._question.abandon()
        self._question = None
        self._descriptors.give_back(1)
        if is_early:
            self._found.add(ProxyLack.EARLY, KEPT)
        elif is_early is False:
            self._honest_until = self._loop.now + KEPT
        self._tell(is_early=bool(is_early))

    def _tell(self, *, is_early: bool) -> None:
        waiting, self._waiting = self._waiting, []
        for judged in waiting:
            judged(is_early)
