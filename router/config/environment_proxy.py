"""The proxy that environment variables name, as many programs read them.

    ALL_PROXY=socks5h://user:password@host:1080

Always true: a password gets into nothing that is returned.

Must not know: policies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

from router.config.problems import quoted
from router.config.socks5 import fault_of_host
from router.wire.socks5 import MOST_CREDENTIAL_BYTES

VARIABLES: Final = (
    *("ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy", "http_proxy", "SOCKS_PROXY"),
    "socks_proxy",
)
"""In the order in which they are looked at."""
SCHEMES: Final = ("socks5", "socks5h")
DEFAULT_PORT: Final = 1080


class NamedProxy(NamedTuple):
    """variable: which one names it. username: None where there is none."""

    variable: str
    host: str
    port: int
    username: str | None = None


class OtherProxy(NamedTuple):
    """One that is no SOCKS5 proxy; `why` is a clause."""

    variable: str
    why: str


def proxy_of(environment: Mapping[str, str]) -> NamedProxy | OtherProxy | None:
    """The first SOCKS5 proxy, or else the first other one."""
    others = []
    for variable in VARIABLES:
        value = environment.get(variable, "").strip()
        if value:
            found = _read(variable, value)
            if isinstance(found, NamedProxy):
                return found
            others.append(found)
    return others[0] if others else None


def _read(variable: str, value: str) -> NamedProxy | OtherProxy:
    try:
        parts = urlsplit(value)
        scheme, port = parts.scheme.lower(), parts.port
    except ValueError:
        return OtherProxy(variable, "it is no URL")
    if scheme not in SCHEMES:
        named = f"the scheme {quoted(scheme, 20)}" if "://" in value else "no scheme"
        return OtherProxy(variable, f"it has {named}, and policies know socks5 alone")
    return _socks5(variable, parts, DEFAULT_PORT if port is None else port)


def _socks5(variable: str, parts: SplitResult, port: int) -> NamedProxy | OtherProxy:
    host = parts.hostname or ""
    if fault_of_host(host) is not None or not port:
        return OtherProxy(variable, "it names no host and port that a proxy can have")
    username = None if parts.username is None else unquote(parts.username)
    if username == "":
        username = None
    if username is not None and not (
        username.isprintable() and len(username.encode()) <= MOST_CREDENTIAL_BYTES
    ):
        return OtherProxy(variable, "its user name cannot be written in a rules file")
    return NamedProxy(variable, host, port, username)
