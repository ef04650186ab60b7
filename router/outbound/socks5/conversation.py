"""A dialogue with a proxy on a connection that is being opened.

Theory of operation. The proxy's addresses are tried one after the other until one of them accepts
the connection. Then what the dialogue has to say is sent as soon as it has it, and no more is read
than it can use: what the destination sends right behind the proxy's reply stays in the socket.

Always true: `outcome` is set once, before `changed` reports it, and once more for a request behind
the login; nothing waits.

Must not know: flows, why the dialogue is led.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable

from router.outbound.base import Dial, DialRequest
from router.platform.base.tcp import ANY_PORT, USUAL_HOP_LIMIT
from router.wire.socks5 import Dialogue, Outcome

OpenDial = Callable[[DialRequest, Callable[[int], None]], Dial]


class Unreached:
    """None of the proxy's addresses has accepted. error: an errno number, that of the last."""

    def __init__(self, error: int) -> None:
        self.error = error


class Conversation:
    """open_dial, addresses, port: how and where. changed: called as a Dial calls it, after what has
    happened was taken in.

    address: the one that is tried, or has accepted. outcome: None while there is none.
    """

    def __init__(
        self,
        open_dial: OpenDial,
        addresses: Iterable[bytes],
        port: int,
        dialogue: Dialogue,
        changed: Callable[[int], None],
        traffic_class: int = 0,
    ) -> None:
        self.dial: Dial | None = None
        self.address = b""
        self.outcome: Outcome | Unreached | None = None
        self._open_dial = open_dial
        self._addresses = iter(addresses)
        self._port = port
        self._dialogue = dialogue
        self._changed = changed
        self._traffic_class = traffic_class
        self._is_open = False
        self._dial_next(errno.ENETUNREACH)

    @property
    def greeted(self) -> bool:
        """Whether something that speaks SOCKS5 has answered."""
        return self._dialogue.greeted

    def ask(self, request: bytes, changed: Callable[[int], None]) -> None:
        """Make a request behind the login, with which the dialogue was over. changed: as above."""
        self._changed = changed
        self.outcome = None
        self._dialogue.ask(request)
        self._advance()

    def abandon(self) -> None:
        """End the connection, if there is one."""
        if self.dial is not None:
            self.dial.abandon()
            self.dial = None

    def _dial_next(self, error: int) -> None:
        """Try the next address; `error` is what the one before has ended with."""
        self.abandon()
        for address in self._addresses:
            self.address = address
            request = DialRequest(  # the application's hop limit counts hops to the destination
                self.address, self._port, USUAL_HOP_LIMIT, self._traffic_class, ANY_PORT
            )
            try:
                self.dial = self._open_dial(request, self._event)
            except OSError as failure:
                error = failure.errno or 0
                continue
            self._advance()
            return
        self.outcome = Unreached(error)

    def _event(self, event: int) -> None:
        if self.outcome is None:
            self._advance()
        self._changed(event)

    def _advance(self) -> None:
        dial = self.dial
        if dial is None:
            return
        if not self._is_open:
            if not dial.is_connected:
                failure = dial.failure
                if failure is not None:
                    self._dial_next(failure.error)
                return
            self._is_open = True
        try:
            self._talk(dial)
        except BlockingIOError:
            return
        except OSError:
            self._dialogue.end()
        self.outcome = self._dialogue.outcome

    def _talk(self, dial: Dial) -> None:
        """Until the dialogue is over. Raises BlockingIOError when the proxy's turn is not over,
        and OSError."""
        dialogue, sock = self._dialogue, dial.sock
        self._send(dial)
        while wanted := dialogue.wanted:
            data = sock.recv(wanted)
            if data:
                dialogue.feed(data)
                self._send(dial)
            else:
                dialogue.end()

    def _send(self, dial: Dial) -> None:
        """A few hundred bytes on a connection that has sent nothing else always have room."""
        output = self._dialogue.take_output()
        if output and dial.sock.send(output) != len(output):
            raise OSError(errno.ENOBUFS, "no room for a message to the proxy")
