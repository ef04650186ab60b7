"""Which requests are answered, and the headers of every answer.

Always true: only GET and HEAD are answered; only under a name that is this machine's own, so that
no page of another site reads an answer by a name that it has led here (DNS rebinding); nothing that
a browser sends for another site, except for showing the page itself, which none may frame; with a
token, nothing without it.

Must not know: what is answered.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import logging
import socket
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from ipaddress import ip_address
from typing import Final, NamedTuple

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from router.platform.reason import reason

log = logging.getLogger(__name__)

METHODS: Final = ("GET", "HEAD")
POLICY: Final = "; ".join(
    [
        "default-src 'none'",
        *("script-src 'self'", "style-src 'self'", "img-src 'self'", "connect-src 'self'"),
        *("base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"),
    ]
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}
CHALLENGE: Final = 'Basic realm="tunrouter: any user name, the token as password", charset="UTF-8"'
OWN: Final = ("same-origin", "none")
"""Sec-Fetch-Site of this page, and of an address that was typed in."""


class Refusal(NamedTuple):
    status: HTTPStatus
    why: str
    headers: Mapping[str, str] = {}


class Access:
    """The application, behind the checks. names: of this machine, besides localhost."""

    def __init__(self, app: ASGIApp, token: str | None, names: Iterable[str]) -> None:
        self._app = app
        self._token = token
        self._names = {"localhost", *(name.lower() for name in names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # the server's own start and end: there are no WebSockets
            await self._app(scope, receive, send)
            return
        begun = False

        async def send_with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        refusal = self._refusal(scope["method"], scope["path"], Headers(scope=scope))
        app = self._app if refusal is None else _answering(refusal)
        try:
            await app(scope, receive, send_with_headers)
        except Exception as error:
            log.error("%s cannot be answered: %s", scope["path"], reason(error))  # noqa: TRY400 - for people
            if not begun:
                failed = _answering(Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "this has failed"))
                await failed(scope, receive, send_with_headers)

    def _refusal(self, method: str, path: str, headers: Headers) -> Refusal | None:
        if method not in METHODS:
            allowed = {"Allow": ", ".join(METHODS)}
            return Refusal(
                HTTPStatus.METHOD_NOT_ALLOWED, "only GET: nothing is changed here", allowed
            )
        if not self._is_own(headers.get("host", "")):
            why = "name this machine by its address, by localhost or by its host name"
            return Refusal(HTTPStatus.MISDIRECTED_REQUEST, why)
        if _is_of_another_site(path, headers):
            return Refusal(HTTPStatus.FORBIDDEN, "not for pages of other sites")
        if not self._has_token(headers.get("authorization", "")):
            challenge = {"WWW-Authenticate": CHALLENGE}
            return Refusal(HTTPStatus.UNAUTHORIZED, "send the token, see docs/web.md", challenge)
        return None

    def _is_own(self, host: str) -> bool:
        """An address cannot be led elsewhere, so any will do."""
        name = host_in(host)
        if name.lower().removesuffix(".") in self._names:
            return True
        try:
            ip_address(name)
        except ValueError:
            return False
        return True

    def _has_token(self, authorization: str) -> bool:
        if self._token is None:
            return True
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() == "basic":
            given = _password_in(given)
        elif scheme.lower() != "bearer":
            return False
        return hmac.compare_digest(given.strip().encode(), self._token.encode())


def host_in(header: str) -> str:
    """Of `name:port`, `[address]:port` or without a port."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0]


def names_of_this_machine() -> list[str]:
    """Without asking a name server."""
    name = socket.gethostname()
    return [name, name.partition(".")[0], f"{name.partition('.')[0]}.local"]


def _is_of_another_site(path: str, headers: Headers) -> bool:
    origin = headers.get("origin")
    if origin is not None and origin.partition("://")[2] != headers.get("host"):
        return True
    if headers.get("sec-fetch-site", "none") in OWN:
        return False
    return not (path == "/" and headers.get("sec-fetch-mode") == "navigate")


def _password_in(credentials: str) -> str:
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[2]
    except (binascii.Error, ValueError):
        return ""


def _answering(refusal: Refusal) -> PlainTextResponse:
    return PlainTextResponse(
        f"{refusal.why}\n", status_code=refusal.status, headers=dict(refusal.headers)
    )
