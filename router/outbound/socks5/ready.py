"""Connections to a proxy that are past the login, for requests to come.

Theory of operation. Each request that the proxy connects opens a connection for the next one: so of
the round trips to the proxy (the connection, the greeting, the login, the request) only the last is
waited for, while connections follow each other. One that no request comes for is closed after KEPT
seconds, and none follows it: a proxy without use has no connection of ours.

Always true: MOST at most are open or being opened, each with a descriptor of the budget; one that
the proxy ends, or says something on, is closed.

Must not know: what is requested, whether the proxy is up.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from typing import Final

from router.outbound.descriptors import Descriptors
from router.outbound.socks5.conversation import Conversation
from router.outbound.socks5.tools import Loop
from router.platform.base.descriptors import BROKEN, READABLE
from router.wire.socks5 import LoggedIn

MOST: Final = 8
"""About as many as a browser opens at once."""
LEFT_TO_FLOWS: Final = 8
"""One part of so many of all descriptors is not for these."""
KEPT: Final = 10.0
"""Seconds; proxies end connections without a request after 30 (dante) or more."""

Open = Callable[[Callable[[int], None]], Conversation]
"""Opens a conversation without a request. Argument: see Conversation."""


class ReadyConnections:
    """suspect: called when one could not be opened."""

    def __init__(
        self, open_one: Open, loop: Loop, descriptors: Descriptors, suspect: Callable[[], None]
    ) -> None:
        self._open_one = open_one
        self._loop = loop
        self._descriptors = descriptors
        self._suspect = suspect
        self._opening: list[Conversation] = []
        self._ready: deque[Conversation] = deque()
        # When each was opened that has not been taken or dropped, in this order.
        self._since: dict[Conversation, float] = {}
        self._is_timed = False
        self._wanted = 0

    def take(self) -> Conversation | None:
        """The oldest, now the caller's; None while there is none."""
        if not self._ready:
            return None
        self._descriptors.give_back(1)
        conversation = self._ready.popleft()
        del self._since[conversation]
        return conversation

    def want(self) -> None:
        """Open one for the next request, after what is to be done now."""
        self._wanted += 1
        if self._wanted == 1:
            self._loop.call_soon(self._fill)

    def drop_all(self) -> None:
        self._wanted = 0
        for conversation in list(self._since):
            self._drop(conversation)

    def drop_lost(self, has_lost: Callable[[socket.socket], bool]) -> None:
        """Drop those by which nothing can arrive any more. has_lost: see Outbound."""
        for conversation in list(self._since):
            if conversation.dial is not None and has_lost(conversation.dial.sock):
                self._drop(conversation)

    def _fill(self) -> None:
        wanted, self._wanted = self._wanted, 0
        for _ in range(min(wanted, MOST - len(self._opening) - len(self._ready))):
            if self._descriptors.take(1, leaving=self._descriptors.limit // LEFT_TO_FLOWS):
                self._open()

    def _open(self) -> None:
        conversation = self._open_one(lambda event: self._changed(conversation, event))
        self._opening.append(conversation)
        self._since[conversation] = self._loop.now
        if not self._is_timed:
            self._is_timed = True
            self._loop.call_later(KEPT, self._drop_old)
        self._look(conversation)

    def _drop_old(self) -> None:
        """One timer for all of them, since most are taken long before."""
        self._is_timed = False
        for conversation, since in list(self._since.items()):
            left = since + KEPT - self._loop.now
            if left > 0:
                self._is_timed = True
                self._loop.call_later(left, self._drop_old)
                return
            self._drop(conversation)

    def _changed(self, conversation: Conversation, event: int) -> None:
        if conversation in self._opening:
            self._look(conversation)
        elif event & (READABLE | BROKEN):
            self._drop(conversation)

    def _look(self, conversation: Conversation) -> None:
        """At one that is being opened."""
        if conversation.outcome is LoggedIn.LOGGED_IN:
            self._opening.remove(conversation)
            self._ready.append(conversation)
        elif conversation.outcome is not None:
            self._drop(conversation)
            self._suspect()

    def _drop(self, conversation: Conversation) -> None:
        """Close it, unless it was taken or dropped."""
        if self._since.pop(conversation, None) is None:
            return
        some = self._opening if conversation in self._opening else self._ready
        some.remove(conversation)
        self._descriptors.give_back(1)
        conversation.abandon()
