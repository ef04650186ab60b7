"""The programs that the guard starts for the router; each runs once at a time.

Always true: what is started, and with which arguments, is fixed by the guard's own start and the
checks here; how often has a limit; all of them end with the guard; those that read no rules get no
variable of the environment that may be a password.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence
from typing import Any, Final, Protocol

from router.config.listen import BadListenError, check_reach, token_fault
from router.flows.limiter import TokenBucket
from router.platform.base.errors import PlatformError
from router.platform.base.starts import START_BURST, STARTS_PER_SECOND
from router.platform.privileged.arguments import (
    check_address,
    check_host_name,
    check_number,
    check_one_of,
    invalid,
)
from router.platform.privileged.channel import Message
from router.platform.privileged.program import Program, without_secrets

RESOLVER: Final = (sys.executable, "-P", "-m", "router.platform.host_names")
WEB: Final = (sys.executable, "-P", "-m", "router.control.web")
PROTOCOLS: Final = ("icmp", "tcp", "udp")
LAST_PORT: Final = 65535


class HasName(Protocol):
    """The TUN; `name` is empty before it is open."""

    name: str


class StartedPrograms:
    """reread: the command of what reads the rules file again, or watches it. explain: that of what
    explains by it."""

    def __init__(self, tun: HasName, reread: Sequence[str], explain: Sequence[str]) -> None:
        self._tun = tun
        self._reread = Program(reread)
        self._watch = Program(reread)
        self._explain = Program(explain)
        self._resolver = Program(RESOLVER, without_secrets(os.environ))
        self._web = Program(WEB, without_secrets(os.environ))
        self._all = (self._reread, self._watch, self._explain, self._resolver, self._web)
        self._readers, self._watchers, self._explainers, self._resolvers, self._webs = (
            TokenBucket(STARTS_PER_SECOND, START_BURST) for _ in self._all
        )

    def start_reread(self) -> Message:
        """Hands over the pipe that the program writes to. Raises PlatformError."""
        _take(self._readers, "the rules are read")
        return Message(None, [self._reread.start()])

    def start_watch(self) -> Message:
        """The same of the program that watches the rules, for changes from now on. Raises
        PlatformError."""
        _take(self._watchers, "the rules are watched anew")
        return Message(None, [self._watch.start("watch", repr(time.time()))])

    def start_resolver(self, host: str) -> Message:
        """The same of the program that resolves a name. Raises PlatformError."""
        name = check_host_name(host)
        _take(self._resolvers, "names are resolved")
        return Message(None, [self._resolver.start(name)])

    def start_explain(self, destination: str, protocol: str | None, port: int | None) -> Message:
        """The same of the program that explains. Raises PlatformError."""
        asked = {
            "destination": _checked_destination(destination),
            "protocol": None if protocol is None else check_one_of(protocol, PROTOCOLS),
            "port": None if port is None else check_number(port, 1, LAST_PORT),
        }
        _take(self._explainers, "destinations are explained")
        return Message(None, [self._explain.start(json.dumps(asked))])

    def start_web(self, host: str, port: int, token: str | None) -> Message:
        """The same of the web process, whose output ends when it does. Raises PlatformError."""
        address = str(check_address(host))
        check_number(port, 1, LAST_PORT)
        if token is not None and (not isinstance(token, str) or token_fault(token) is not None):
            raise PlatformError("invalid request to the guard: that is no token")
        try:
            check_reach(address, has_token=token is not None)
        except BadListenError as error:
            raise PlatformError(f"invalid request to the guard: {error.message}") from None
        _take(self._webs, "the web process is started")
        tun = self._tun.name or None
        settings = {"tun": tun, "host": address, "port": port, "token": token}
        return Message(None, [self._web.start(line=json.dumps(settings).encode() + b"\n")])

    def end_web(self) -> Message:
        self._web.end()
        return Message(None)

    def end(self) -> None:
        """Kill those that run."""
        for program in self._all:
            program.end()

    def reap(self) -> None:
        for program in self._all:
            program.reap()


def _checked_destination(value: Any) -> str:
    """An address or a host name. Raises PlatformError."""
    try:
        return str(check_address(value))
    except PlatformError:
        pass
    try:
        return check_host_name(value)
    except PlatformError:
        raise invalid("an address or a host name", value) from None


def _take(bucket: TokenBucket, what: str) -> None:
    """Raises PlatformError."""
    if not bucket.take(time.monotonic()):
        raise PlatformError(f"{what} too often: try again in a second")
