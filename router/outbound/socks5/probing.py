"""Whether a proxy is up, as its connections and probes have found.

Theory of operation. The proxy counts as up until a connection to it fails or it answers nonsense;
then it is probed, by a connection that ends with the login. It is down when that fails, or when it
has definitely refused, and probed again after FIRST_DELAY seconds, twice as many each time, at most
LAST_DELAY, until it answers. Before a probe its name is resolved again. While no connection fails,
nothing is sent.

Always true: one probe at most is under way; connections that exist are left alone, whatever a probe
finds.

Must not know: what a proxy carries.
"""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from router.outbound.socks5.addresses import ProxyAddresses
from router.outbound.socks5.conversation import Conversation, Unreached
from router.outbound.socks5.failures import OUR_LACK, is_definite
from router.outbound.socks5.tools import Loop
from router.wire.socks5 import Fault, LoggedIn

PATIENCE: Final = 10.0
"""Seconds that a probe may take, a connection may be without an answer to its greeting, and the
request for an association without a reply."""
FIRST_DELAY: Final = 1.0
LAST_DELAY: Final = 60.0
NO_ANSWER: Final = "no answer"


Unanswered = Callable[[Conversation], None]


class Probed(Protocol):
    """What a probe needs of the outbound; see router.outbound.socks5.outbound."""

    @property
    def server(self) -> bytes | None:
        """The proxy's address to begin with; None while there is no way to one."""
        ...

    def talk(self, request: bytes, changed: Callable[[int], None]) -> Conversation: ...


class Probing:
    """changed: called when the proxy has gone up or down.

    fault: why it is down, in one clause; None while it is not. has_ended: whether it has ended a
    connection in place of a reply, as ssh does where it cannot connect.
    """

    def __init__(
        self, proxy: Probed, addresses: ProxyAddresses, loop: Loop, changed: Callable[[], None]
    ) -> None:
        self.fault: str | None = None
        self.has_ended = False
        self._proxy = proxy
        self._addresses = addresses
        self._loop = loop
        self._report = changed
        self._delay = FIRST_DELAY
        self._probe: Conversation | None = None
        self._is_checking = self._is_closed = False
        # Conversations that have begun, when, and what is called where one has no outcome in time.
        self._begun: deque[tuple[float, Conversation, Unanswered | None]] = deque()

    def begin(self) -> None:
        """Find out whether the proxy is up."""
        if not self._is_checking:
            self._is_checking = True
            self._addresses.resolve(self._resolved)

    def suspect(self) -> None:
        """A connection to the proxy has failed, or has no answer: find out whether it is down."""
        if self.fault is None:
            self.begin()

    def unreached(self, error: int) -> None:
        """No address of the proxy accepts a connection, with the errno of the last. Where that is
        definite it is down at once, and probed at once: its name may have another address now."""
        if error in OUR_LACK:
            return
        self.suspect()
        if self.fault is None and is_definite(error):
            self.fault = _in_words(error)
            self._report()

    def fail(self, fault: Fault) -> None:
        """The proxy has answered, and not as it should."""
        if self.fault is None:
            self._go_down(fault.value)

    def left_unanswered(self) -> None:
        """It has ended a connection in place of a reply."""
        self.has_ended = True
        self.suspect()

    def watch(self, conversation: Conversation, unanswered: Unanswered | None = None) -> None:
        """Suspect the proxy where it has not answered a greeting in time. unanswered: called then,
        and also where only the request has no reply."""
        self._begun.append((self._loop.now, conversation, unanswered))
        if len(self._begun) == 1:
            self._loop.call_later(PATIENCE, self._check_begun)

    def close(self) -> None:
        self._is_closed = True
        if self._probe is not None:
            self._probe.abandon()
            self._probe = None

    def _check_begun(self) -> None:
        """One timer for all of them, since nearly all are answered long before."""
        begun, now = self._begun, self._loop.now
        is_unanswered = False
        while begun and begun[0][0] + PATIENCE <= now:
            _, conversation, unanswered = begun.popleft()
            if conversation.outcome is None and conversation.dial is not None:
                is_unanswered |= not conversation.greeted
                if unanswered is not None:
                    unanswered(conversation)
        if begun:
            self._loop.call_later(begun[0][0] + PATIENCE - now, self._check_begun)
        if is_unanswered:
            self.suspect()

    def _resolved(self) -> None:
        if self._is_closed:
            return
        if self._proxy.server is None:
            self._end_check(self._addresses.fault if not self._addresses.all else None)
            return
        probe = self._probe = self._proxy.talk(b"", lambda _event: self._probed(probe))
        self._loop.call_later(PATIENCE, lambda: self._give_up(probe))
        if probe.outcome is not None:
            self._probed(probe)

    def _probed(self, probe: Conversation) -> None:
        outcome = probe.outcome
        if outcome is None or probe is not self._probe:
            return
        self._probe = None
        probe.abandon()
        if outcome is LoggedIn.LOGGED_IN:
            self._addresses.worked(probe.address)
            self._end_check(None)
        elif isinstance(outcome, Unreached):
            self._end_check(_in_words(outcome.error))
        elif isinstance(outcome, Fault):
            self._end_check(outcome.value)

    def _give_up(self, probe: Conversation) -> None:
        if probe is self._probe:
            self._probe = None
            probe.abandon()
            self._end_check(NO_ANSWER)

    def _end_check(self, fault: str | None) -> None:
        """Without a fault it is up, as far as there is a way to it."""
        self._is_checking = False
        if fault is not None:
            self._go_down(fault)
            return
        self._delay = FIRST_DELAY
        self.fault = None
        self._report()

    def _go_down(self, fault: str) -> None:
        self.fault = fault
        delay, self._delay = self._delay, min(2 * self._delay, LAST_DELAY)
        self._loop.call_later(delay, self._probe_again)
        self._report()

    def _probe_again(self) -> None:
        if self.fault is not None and not self._is_closed:
            self.begin()


def _in_words(error: int) -> str:
    """Why nothing could be reached, in one clause."""
    if error == errno.ECONNREFUSED:
        return "it refuses connections"
    if error == errno.ETIMEDOUT:
        return NO_ANSWER
    return os.strerror(error) if error else NO_ANSWER
