"""SOCKS5 as a client speaks it: the dialogue on a TCP connection, and the header of UDP datagrams.

Sources: RFC 1928 (SOCKS5), RFC 1929 (user name and password).

Theory of operation. A `Dialogue` is fed what the proxy has sent, in pieces of any size, and says
what to send (`take_output`) and how many bytes it can use next (`wanted`). A caller that reads no
more than those leaves in the socket what the destination sends right behind the proxy's reply.

    GREETING    our methods are sent; the proxy's choice comes
    LOGIN       user name and password are sent; their verdict comes
    REPLY       the request is sent; its reply comes
    over        `outcome` is set; one that ends with the login may go on with a request (`ask`)

Each message is sent alone and whole: proxies exist that read a message by one call and drop what
came together with it, so nothing is sent ahead of an answer.

Always true: any bytes lead to an outcome or to a demand for more, never to an exception; how they
are split makes no difference; what comes behind the reply is kept in `rest`.

Must not know: sockets, time, what the proxy's failure means for an application.
"""

from __future__ import annotations

from enum import Enum, IntEnum, auto
from typing import Final, NamedTuple

VERSION: Final = 5
NO_LOGIN: Final = 0
WITH_PASSWORD: Final = 2
LOGIN_VERSION: Final = 1
SUCCEEDED: Final = 0
SHORTEST_REPLY: Final = 7
"""Bytes of a success, with a name of none; a refusal may be shorter, and nothing follows it."""
MOST_CREDENTIAL_BYTES: Final = 255
"""Of a user name or a password (RFC 1929, section 2)."""

ADDRESS_V4: Final = 1
ADDRESS_NAME: Final = 3
ADDRESS_V6: Final = 4
ADDRESS_SIZE: Final = {ADDRESS_V4: 4, ADDRESS_V6: 16}
ADDRESS_TYPE: Final = {size: kind for kind, size in ADDRESS_SIZE.items()}

UDP_HEADER: Final = {4: 10, 6: 22}
"""Bytes in front of a datagram to or from an address of an IP version."""
FRAGMENT: Final = 2
"""Where the fragment number of a datagram stands."""
ADDRESS: Final = 3
"""Where the address of a datagram begins, at its type."""

Bytes = bytes | bytearray | memoryview


class Command(IntEnum):
    """What is requested of a proxy (RFC 1928, section 4)."""

    CONNECT = 1
    UDP_ASSOCIATE = 3


class ReplyCode(IntEnum):
    """RFC 1928, section 6."""

    GENERAL_FAILURE = 1
    NOT_ALLOWED = 2
    NETWORK_UNREACHABLE = 3
    HOST_UNREACHABLE = 4
    REFUSED = 5
    TTL_EXPIRED = 6
    COMMAND_NOT_SUPPORTED = 7
    ADDRESS_TYPE_NOT_SUPPORTED = 8


class Credentials(NamedTuple):
    """User name and password, at most 255 bytes each. Their text never shows them."""

    username: bytes
    password: bytes

    def __repr__(self) -> str:
        return "Credentials(…)"


class Reply(NamedTuple):
    """The answer to a request. address: 4 or 16 bytes; none where the proxy gives a name, or has
    refused."""

    code: int
    address: bytes = b""
    port: int = 0


class Fault(Enum):
    """Why a dialogue ended without a reply, as a clause about the proxy."""

    NOT_SOCKS5 = "it does not speak SOCKS5"
    NO_METHOD = "it demands a login other than the one that is configured"
    BAD_LOGIN = "it refuses the user name or password"
    ENDED = "it ends the connection without a reply"


class LoggedIn(Enum):
    """The outcome of a dialogue without a request."""

    LOGGED_IN = auto()


Outcome = Reply | Fault | LoggedIn


class _State(Enum):
    GREETING = auto()
    LOGIN = auto()
    REPLY = auto()


class Dialogue:
    """One client's. request: as `request` gives it; empty: the dialogue ends with the login,
    behind which `ask` may go on."""

    def __init__(self, credentials: Credentials | None, request: bytes) -> None:
        self.outcome: Outcome | None = None
        self._credentials = credentials
        self._request = request
        self._state = _State.GREETING
        self._buffer = bytearray()
        methods = (NO_LOGIN,) if credentials is None else (NO_LOGIN, WITH_PASSWORD)
        self._output = bytes((VERSION, len(methods), *methods))

    @property
    def wanted(self) -> int:
        """How many bytes it can use next; 0 once it is over."""
        if self.outcome is not None:
            return 0
        is_reply = self._state is _State.REPLY and not self._buffer
        return SHORTEST_REPLY if is_reply else self._needed() - len(self._buffer)

    @property
    def rest(self) -> bytes:
        """What has come behind the last message, once it is over."""
        return bytes(self._buffer)

    @property
    def greeted(self) -> bool:
        """Whether the proxy has answered as one that speaks SOCKS5."""
        return self._state is not _State.GREETING

    def take_output(self) -> bytes:
        """What is to be sent now, in one piece; each is given once."""
        output, self._output = self._output, b""
        return output

    def ask(self, request: bytes) -> None:
        """Go on with a request behind the login, with which the dialogue was over."""
        assert self.outcome is LoggedIn.LOGGED_IN, "a dialogue has one request"
        self.outcome = None
        self._output += request
        self.feed(b"")

    def feed(self, data: Bytes) -> None:
        """Take what the proxy has sent."""
        self._buffer += data
        while self.outcome is None and len(self._buffer) >= self._needed():
            self._step()

    def end(self) -> None:
        """The proxy has ended the connection."""
        if self.outcome is None:
            self.outcome = _AT_END[self._state]

    def _needed(self) -> int:
        """The size of the message that is awaited, as far as it is known."""
        if self._state is not _State.REPLY:
            return 2
        buffer = self._buffer
        if len(buffer) < 2 or buffer[1] != SUCCEEDED:
            return 2  # the code decides about a refusal; what follows it is not always sent
        if len(buffer) < 5:
            return 5
        if buffer[3] == ADDRESS_NAME:
            return 7 + buffer[4]
        size = ADDRESS_SIZE.get(buffer[3])
        return 5 if size is None else 6 + size

    def _step(self) -> None:
        match self._state:
            case _State.GREETING:
                self._chosen(*self._take(2))
            case _State.LOGIN:
                _, verdict = self._take(2)  # the version of this answer differs between proxies
                if verdict == SUCCEEDED:
                    self._send_request()
                else:
                    self.outcome = Fault.BAD_LOGIN
            case _State.REPLY:
                self._replied()

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def _chosen(self, version: int, method: int) -> None:
        credentials = self._credentials
        if version != VERSION:
            self.outcome = Fault.NOT_SOCKS5
        elif method == WITH_PASSWORD and credentials is not None:
            self._state = _State.LOGIN
            self._output += _login(credentials)
        elif method == NO_LOGIN:
            self._send_request()
        else:  # a method that was not offered is as good as none
            self.outcome = Fault.NO_METHOD

    def _send_request(self) -> None:
        self._state = _State.REPLY
        self._output += self._request
        if not self._request:
            self.outcome = LoggedIn.LOGGED_IN

    def _replied(self) -> None:
        message = self._take(self._needed())
        version, code = message[:2]
        if version != VERSION:
            self.outcome = Fault.NOT_SOCKS5
        elif code != SUCCEEDED:
            self.outcome = Reply(code)
        elif message[3] != ADDRESS_NAME and message[3] not in ADDRESS_SIZE:
            self.outcome = Fault.NOT_SOCKS5
        else:
            address = b"" if message[3] == ADDRESS_NAME else message[4:-2]
            self.outcome = Reply(SUCCEEDED, address, int.from_bytes(message[-2:], "big"))


_AT_END: Final = {
    _State.GREETING: Fault.NOT_SOCKS5,
    _State.LOGIN: Fault.BAD_LOGIN,
    _State.REPLY: Fault.ENDED,
}
"""What an end of the connection means: some proxies answer a wrong password by it alone."""


def _login(credentials: Credentials) -> bytes:
    username, password = credentials
    return bytes((LOGIN_VERSION, len(username))) + username + bytes((len(password),)) + password


def request(command: Command, address: bytes, port: int) -> bytes:
    """A request about an address of 4 or 16 bytes."""
    return bytes((VERSION, command, 0)) + endpoint(address, port)


def endpoint(address: bytes, port: int) -> bytes:
    """An address and a port as messages and datagrams have them."""
    return bytes((ADDRESS_TYPE[len(address)],)) + address + port.to_bytes(2, "big")


def udp_header(address: bytes, port: int) -> bytes:
    """What stands in front of a datagram to an endpoint (RFC 1928, section 7)."""
    return bytes(ADDRESS) + endpoint(address, port)


def udp_header_size(datagram: Bytes) -> int | None:
    """The size of the header of a datagram from a proxy; None where it is damaged, or names its
    sender by anything but an address."""
    if len(datagram) <= ADDRESS:
        return None
    address = ADDRESS_SIZE.get(datagram[ADDRESS])
    if address is None or len(datagram) < ADDRESS + 3 + address:
        return None
    return ADDRESS + 3 + address


def parse_endpoint(data: bytes) -> tuple[bytes, int]:
    """What `endpoint` has made."""
    return data[1:-2], int.from_bytes(data[-2:], "big")
