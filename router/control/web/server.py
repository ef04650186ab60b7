"""The HTTP server: how many connections there are, and for how long.

Always true: a connection on which no answer has been completed for PATIENCE seconds is closed,
whether the client sends nothing, sends slowly, or does not read; of more than MOST_CONNECTIONS the
one that has been idle longest is closed, so that those who connect and do nothing keep nobody out.

Must not know: what is answered.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import socket
import time
from typing import Any, Final, cast

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from router.config.listen import url

MOST_CONNECTIONS: Final = 128
PATIENCE: Final = 30.0
KEEP_ALIVE: Final = 5
"""Seconds."""
BIND_PATIENCE: Final = 3.0
"""Seconds for which an address may be in use by the process before this one."""
RETRY: Final = 0.1


class BadAddressError(Exception):
    """The message names the address and the remedy."""


class BoundedConnection(H11Protocol):
    """See above."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._answered = 0
        self.last_answer = self.loop.time()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()
        if len(self.connections) > MOST_CONNECTIONS:
            others = (
                cast(BoundedConnection, each) for each in self.connections if each is not self
            )
            min(others, key=_importance).transport.abort()

    def on_response_complete(self) -> None:
        self._answered += 1
        self.last_answer = self.loop.time()
        super().on_response_complete()

    @property
    def is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _watch(self) -> None:
        self.loop.call_later(PATIENCE, self._close_unless_more_than, self._answered)

    def _close_unless_more_than(self, answered: int) -> None:
        if self.transport.is_closing():
            return
        if self._answered == answered:
            self.transport.abort()
        else:
            self._watch()


def _importance(connection: BoundedConnection) -> tuple[bool, float]:
    return connection.is_answering, connection.last_answer


def http_server(app: ASGIApp) -> uvicorn.Server:
    """Loaded, so that nothing is imported later."""
    for name in ("uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).disabled = True
    config = uvicorn.Config(
        app,
        http=BoundedConnection,
        loop="asyncio",
        ws="none",
        lifespan="on",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=1,
    )
    config.load()
    return uvicorn.Server(config)


def bound_socket(host: str, port: int, patience: float = BIND_PATIENCE) -> socket.socket:
    """Raises BadAddressError."""
    family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
    deadline = time.monotonic() + patience
    while True:
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((host, port))
            sock.listen()
        except OSError as error:
            sock.close()
            if error.errno != errno.EADDRINUSE or time.monotonic() >= deadline:
                raise _bad_address(host, port, error) from error
            time.sleep(RETRY)
        else:
            return sock


def _bad_address(host: str, port: int, error: OSError) -> BadAddressError:
    remedies = {
        errno.EADDRINUSE: "is this page there already? look, or choose another port",
        errno.EADDRNOTAVAIL: "no interface has this address: choose one that `ip address` shows",
        errno.EACCES: "this port is root's, whose rights the web process has not: choose one "
        "from 1024 on",
    }
    remedy = remedies.get(error.errno or 0, "choose another address or port")
    return BadAddressError(f"{url(host, port)} cannot be had: {error.strerror}: {remedy}")
