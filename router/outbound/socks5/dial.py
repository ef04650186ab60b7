"""A TCP connection by CONNECT.

Always true: it is connected only once the proxy says that it is; what the destination has sent by
then is still to be read from the socket.

Must not know: which flow the connection is for.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Protocol

from router.outbound.socks5.conversation import Conversation, Unreached
from router.outbound.socks5.failures import (
    NO_ANSWER,
    OUR_LACK,
    UNREACHABLE,
    failure_of,
)
from router.platform.base.tcp import ConnectFailure
from router.wire.socks5 import SUCCEEDED, Fault, Reply, ReplyCode


class Outcomes(Protocol):
    """What an attempt tells about the proxy; see router.outbound.socks5.probing."""

    def suspect(self) -> None: ...

    def unreached(self, error: int) -> None: ...

    def fail(self, fault: Fault) -> None: ...

    def left_unanswered(self) -> None: ...

    def has_refused(self, version: int) -> None: ...


class Socks5Dial:
    """See Dial.

    version: of the destination. succeeded: called once the proxy has connected and the connection
    is used. again: begins a conversation on a new connection, where this one's may have ended
    before the request got there.
    """

    def __init__(
        self,
        conversation: Conversation,
        outcomes: Outcomes,
        version: int,
        succeeded: Callable[[], None] | None = None,
        again: Callable[[], Conversation] | None = None,
    ) -> None:
        self._conversation = conversation
        self._outcomes = outcomes
        self._version = version
        self._succeeded = succeeded
        self._again = again

    source_port = 0
    """What is sent to the proxy is no request to the destination."""

    @property
    def is_connected(self) -> bool:
        outcome = self._conversation.outcome
        return isinstance(outcome, Reply) and outcome.code == SUCCEEDED

    @property
    def failure(self) -> ConnectFailure | None:
        match self._conversation.outcome:
            case None:
                return None
            case Reply(code):
                if code == ReplyCode.ADDRESS_TYPE_NOT_SUPPORTED:
                    self._outcomes.has_refused(self._version)
                return None if code == SUCCEEDED else failure_of(code)
            case Unreached(error=error):
                self._outcomes.unreached(error)
                return ConnectFailure(error) if error in OUR_LACK else NO_ANSWER
            case Fault.ENDED if self._again is not None:
                again, self._again = self._again, None
                self._conversation.abandon()
                self._conversation = again()
                return self.failure
            case Fault.ENDED:
                self._outcomes.left_unanswered()
                return UNREACHABLE
            case Fault() as fault:
                self._outcomes.fail(fault)
                return NO_ANSWER
        raise AssertionError("a dialogue with a request ends by a reply or a fault")

    @property
    def sock(self) -> socket.socket:
        dial = self._conversation.dial
        assert dial is not None, "asked while there is one"
        return dial.sock

    def release(self) -> socket.socket:
        dial = self._conversation.dial
        assert dial is not None, "a connection exists"
        if self._succeeded is not None:
            self._succeeded()
        return dial.release()

    def abandon(self) -> None:
        if self._conversation.outcome is None and not self._conversation.greeted:
            self._outcomes.suspect()
        self._conversation.abandon()
