"""The address that the web process listens at, and the token that clients have to send.

Always true: without a token it is a loopback address, so that no other machine reads anything.

Must not know: where they are written, in the rules or on the command line.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final

from router.config.problems import quoted
from router.config.schema import DEFAULT_LISTEN, MAXIMUM_PORT

LISTEN: Final = re.compile(
    r"(?:\[(?P<v6>[^\]]*)\]|(?P<v4>[^:\[\]]*)):(?P<port>[0-9]{1,5})", re.ASCII
)
TOKEN: Final = re.compile(r"[!-~]*", re.ASCII)
SHORTEST_TOKEN: Final = 16
LONGEST_TOKEN: Final = 256
MAKE_TOKEN: Final = "openssl rand -hex 16"  # noqa: S105 - a command


class BadListenError(ValueError):
    """What is wrong, and what to do about it."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


def parse_listen(text: str) -> tuple[str, int]:
    """Address and port of ADDRESS:PORT, IPv6 in brackets. Raises BadListenError."""
    match = LISTEN.fullmatch(text)
    version, host = (4, text) if match is None else (6, match["v6"])
    if match is not None and host is None:
        version, host = 4, match["v4"]
    try:
        address = None if match is None or "%" in host else ip_address(host)
    except ValueError:
        address = None
    if match is None or address is None or address.version != version or address.is_multicast:
        raise BadListenError(
            f"{quoted(text)} is no address with a port",
            f"write {DEFAULT_LISTEN}, or an IPv6 address in brackets, as in [::1]:9469",
        )
    port = int(match["port"])
    if not 1 <= port <= MAXIMUM_PORT:
        raise BadListenError(
            f"{quoted(text)} has the port {port}", f"ports are 1 to {MAXIMUM_PORT}"
        )
    return host, port


def is_loopback(host: str) -> bool:
    """Of an address that parse_listen has returned."""
    address = ip_address(host)
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def check_reach(host: str, *, has_token: bool) -> None:
    """Raises BadListenError for an address that other machines can reach, without a token."""
    if not has_token and not is_loopback(host):
        raise BadListenError(
            f"other machines could reach {host}, and no token is set",
            "name a file with a token (token_file), or listen at 127.0.0.1 or [::1]",
        )


def token_fault(token: str) -> str | None:
    """Why a token cannot be one, without showing it; None if it can."""
    if not SHORTEST_TOKEN <= len(token) <= LONGEST_TOKEN:
        return f"has {len(token)} characters, and needs {SHORTEST_TOKEN} to {LONGEST_TOKEN}"
    if not TOKEN.fullmatch(token):
        return "has blanks or characters other than those of ASCII"
    return None


def url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
