"""What the answers of a proxy mean for the application that has asked for a connection.

Always true: an application gets what it would get from the network where the proxy says what that
was, and no answer where the proxy has none: the repeated request is then decided anew, by `on_down`
if the proxy is down by that time. Where the proxy cannot be reached, `on_down` applies at once.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Final

from router.platform.base.tcp import ConnectFailure
from router.wire.socks5 import ReplyCode

NO_ANSWER: Final = ConnectFailure(errno.ETIMEDOUT)
UNREACHABLE: Final = ConnectFailure(errno.EHOSTUNREACH)
"""Also for codes that RFC 1928 does not have."""

FAILURES: Final[Mapping[int, ConnectFailure]] = {
    ReplyCode.GENERAL_FAILURE: UNREACHABLE,
    ReplyCode.NOT_ALLOWED: ConnectFailure(errno.EACCES),
    ReplyCode.NETWORK_UNREACHABLE: ConnectFailure(errno.ENETUNREACH),
    ReplyCode.HOST_UNREACHABLE: UNREACHABLE,
    ReplyCode.REFUSED: ConnectFailure(errno.ECONNREFUSED),
    ReplyCode.TTL_EXPIRED: NO_ANSWER,
    ReplyCode.COMMAND_NOT_SUPPORTED: ConnectFailure(errno.EACCES),
    ReplyCode.ADDRESS_TYPE_NOT_SUPPORTED: ConnectFailure(errno.ENETUNREACH),
}
"""By reply code; router.engine.errnos has the packets. TTL expired: some proxies answer that where
the destination did not. Address type: without a route an application tries the other family."""


OUR_LACK: Final = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EAGAIN, errno.EADDRNOTAVAIL}
)
"""Of a connection to the proxy: says nothing about it."""


def is_definite(error: int) -> bool:
    """Whether an errno of a connection to the proxy says that it cannot be reached now, rather than
    that nothing has come back."""
    return error not in OUR_LACK and error != errno.ETIMEDOUT


def failure_of(code: int) -> ConnectFailure:
    """Of a reply code other than success."""
    return FAILURES.get(code, UNREACHABLE)
