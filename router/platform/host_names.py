"""The addresses of a host name, by the system's resolver (getaddrinfo(3)), which waits: so it is a
program of its own, that the guard starts.

    python -m router.platform.host_names NAME

It writes one line and ends: `=` and the addresses, or `!` and why there are none.

Always true: it ends after LIFETIME seconds at the latest; it has no privileges where the
system lets it give them up.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from ipaddress import ip_address
from typing import Final, NamedTuple

from router.platform.account import become, usual_account
from router.platform.base.errors import PlatformError
from router.platform.reason import reason

LIFETIME: Final = 20
"""Seconds; glibc gives up three servers after 30, and one after 10 (resolv.conf(5))."""
FOUND, FAILED = b"=", b"!"


class Resolved(NamedTuple):
    """addresses: 4 or 16 bytes each, in the system's order. fault: why there are none, in one
    clause."""

    addresses: tuple[bytes, ...]
    fault: str = ""


def resolve(host: str) -> bytes:
    """The line."""
    try:
        # As bytes: the codec for text would be imported now, which this user may not read.
        found = socket.getaddrinfo(host.encode("ascii"), None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return FAILED + (reason(error) if isinstance(error, OSError) else "it is no name").encode()
    texts = dict.fromkeys(str(each[4][0]) for each in found)
    usable = [text for text in texts if "%" not in text]
    if not usable:
        return FAILED + b"it has no address that can be used"
    return FOUND + " ".join(usable).encode()


def parse(line: bytes) -> Resolved:
    """What the line says; one that is cut off or damaged is a fault as well."""
    kind, text = line[:1], line[1:].decode(errors="replace")
    if kind == FAILED:
        return Resolved((), text)
    if kind != FOUND:
        return Resolved((), "the system's resolver has not answered")
    try:
        return Resolved(tuple(ip_address(each).packed for each in text.split()))
    except ValueError:
        return Resolved((), "the system's resolver has given no addresses")


def main() -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(LIFETIME)
    with contextlib.suppress(PlatformError):
        become(usual_account())
    os.write(sys.stdout.fileno(), resolve(sys.argv[1]))


if __name__ == "__main__":
    main()
