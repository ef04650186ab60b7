"""A UDP association: the connection to a proxy that has asked for it, and the relay it names.

Theory of operation. The association lasts as long as the connection that has asked for it.

    IDLE        nothing was asked yet, or the proxy has ended the association, or has not answered
                in time
    ASKING      the proxy has not answered yet
    OPEN        `relay` is known

Always true: a connection exists exactly while it is ASKING or OPEN.

Must not know: datagrams.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from enum import Enum, auto
from typing import Protocol

from router.flows.drops import Drop
from router.outbound.base import DatagramChannel
from router.outbound.socks5.conversation import Conversation
from router.platform.base.descriptors import BROKEN, READABLE
from router.wire.socks5 import SUCCEEDED, Reply, ReplyCode


class Proxy(Protocol):
    """What associations and channels need of the outbound; see router.outbound.socks5.outbound."""

    def ask(
        self, changed: Callable[[int], None], unanswered: Callable[[Conversation], None]
    ) -> Conversation | None:
        """Ask for an association; None when no descriptor is left for one more. unanswered: called
        where the proxy has not answered in time, unless the conversation has ended."""
        ...

    def ended(self, conversation: Conversation) -> None:
        """The connection of an association is to be closed."""
        ...

    @property
    def offers_udp(self) -> bool:
        """Whether it is worth asking."""
        ...

    def has_no_udp(self) -> None: ...

    def suspect(self) -> None: ...

    def has_lost_source(self, source: bytes) -> bool:
        """Whether the address that datagrams leave from is gone."""
        ...

    def count(self, reason: Drop) -> None: ...

    def report(self, channel: DatagramChannel) -> None:
        """Have the channel read although its socket may have nothing."""
        ...


class State(Enum):
    """See the table above."""

    IDLE = auto()
    ASKING = auto()
    OPEN = auto()


class Association:
    """server: the proxy's address, 4 or 16 bytes. opened, refused: called when the proxy has opened
    it, or has not. unanswered: called when it has not answered in time.

    relay: address and port that datagrams are to be sent to, of the family of `server`.
    """

    def __init__(
        self,
        server: bytes,
        proxy: Proxy,
        opened: Callable[[], None],
        refused: Callable[[], None],
        unanswered: Callable[[], None],
    ) -> None:
        self.state = State.IDLE
        self.relay = b"", 0
        self._server = server
        self._proxy = proxy
        self._opened = opened
        self._refused = refused
        self._unanswered = unanswered
        self._conversation: Conversation | None = None

    def ask(self) -> None:
        """Raises OSError when no descriptor is left."""
        self.state = State.ASKING
        self._conversation = self._proxy.ask(self._changed, self._give_up)
        if self._conversation is None:
            self.state = State.IDLE
            raise OSError(errno.EMFILE, "no descriptor is left for one more association")
        if self._conversation.outcome is not None:
            self._answered()

    def end(self) -> None:
        """It can be asked for anew."""
        self.state = State.IDLE
        if self._conversation is not None:
            self._proxy.ended(self._conversation)
            self._conversation = None

    def _give_up(self, conversation: Conversation) -> None:
        if conversation is self._conversation and self.state is State.ASKING:
            self.end()
            self._unanswered()

    def _changed(self, event: int) -> None:
        conversation = self._conversation
        if conversation is None:
            return
        if self.state is State.ASKING:
            if conversation.outcome is not None:
                self._answered()
        elif event & (READABLE | BROKEN) and _has_ended(conversation):
            self.end()

    def _answered(self) -> None:
        conversation = self._conversation
        assert conversation is not None
        outcome = conversation.outcome
        if isinstance(outcome, Reply) and outcome.code == SUCCEEDED:
            self._open(outcome)
            return
        if isinstance(outcome, Reply):
            if outcome.code == ReplyCode.COMMAND_NOT_SUPPORTED:
                self._proxy.has_no_udp()
        elif conversation.greeted:
            self._proxy.has_no_udp()  # some end the connection in place of an answer
        else:
            self._proxy.suspect()
        self.end()
        self._refused()

    def _open(self, reply: Reply) -> None:
        """Where the relay is given as no address, or as the unspecified one, it is at the proxy's
        own. One of the other family cannot be sent to."""
        address = reply.address if any(reply.address) else self._server
        if len(address) != len(self._server):
            self.end()
            self._refused()
            return
        self.state = State.OPEN
        self.relay = address, reply.port
        self._opened()


def _has_ended(conversation: Conversation) -> bool:
    """Whether the proxy has ended the connection; what it sends on it means nothing."""
    dial = conversation.dial
    if dial is None:
        return True
    try:
        while dial.sock.recv(4096):
            pass
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True
