"""Endpoints of WireGuard peers: where tunnels send their packets.

wireguard-go reports them by its control socket, to root alone
(https://www.wireguard.com/xplatform/, the `get` operation); WireGuard of a kernel is that system's.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from router.policy.network import Endpoint, Interface

CONTROL_SOCKETS: Final = Path("/var/run/wireguard")
ONLY_ROOT: Final = "only root may"
RETRY_S: Final = 60.0
TIMEOUT_S: Final = 1.0
"""For a control socket whose program does not answer."""


Read = Callable[[], Iterable[Endpoint]]
"""Reads the endpoints of one tunnel. Raises OSError, ValueError."""


def read_now(_tunnel: str, query: Read) -> Sequence[Endpoint]:
    """The endpoints of a tunnel. Raises like `query`."""
    return tuple(query())


class EndpointMemory:
    """In the place of `read_now`: a tunnel that does not answer keeps its known endpoints, and is
    read again only after RETRY_S. Without its exempt routes, even for a moment, the VPN's own
    packets would enter the VPN.

    clock: gives seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, Sequence[Endpoint]] = {}
        self._retry_at: dict[str, float] = {}

    def __call__(self, tunnel: str, query: Read) -> Sequence[Endpoint]:
        if self._clock() >= self._retry_at.get(tunnel, 0):
            try:
                self._known[tunnel] = read_now(tunnel, query)
            except (OSError, ValueError):
                self._retry_at[tunnel] = self._clock() + RETRY_S
        return self._known.get(tunnel, ())


def read_endpoints(
    interfaces: Mapping[str, Interface],
    kernel_tunnels: Mapping[str, Read],
    unread: list[str],
    directory: Path = CONTROL_SOCKETS,
    read: Callable[[str, Read], Sequence[Endpoint]] = read_now,
) -> tuple[Endpoint, ...]:
    """All endpoints; what could not be read is added to `unread`. kernel_tunnels: by name, those of
    the kernel."""
    found: list[Endpoint] = []
    for name, query in kernel_tunnels.items():
        try:
            found += read(name, query)
        except OSError as error:
            unread.append(f"the endpoints of {name} ({_why(error)})")
    try:
        sockets = sorted(directory.glob("*.sock")) if _listable(directory) else []
    except OSError as error:
        unread.append(f"the endpoints of VPNs in {directory} ({_why(error)})")
        return tuple(found)
    for path in sockets:
        if path.stem not in interfaces:
            continue
        try:
            found += read(path.stem, partial(_of_program, path))
        except (OSError, ValueError) as error:
            unread.append(f"the endpoints of {path.stem} ({_why(error)})")
    return tuple(found)


def _listable(directory: Path) -> bool:
    """False where there is none. Raises OSError where it may not be read: glob() would not."""
    try:
        next(directory.iterdir(), None)
    except FileNotFoundError:
        return False
    return True


def _why(error: OSError | ValueError) -> str:
    if isinstance(error, PermissionError):
        return ONLY_ROOT
    return getattr(error, "strerror", None) or "an invalid answer"


def _query(path: Path) -> str:
    """The answer of a control socket. Raises OSError."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
        control.settimeout(TIMEOUT_S)
        control.connect(str(path))
        control.sendall(b"get=1\n\n")
        answer = b""
        while not answer.endswith(b"\n\n"):
            piece = control.recv(65536)
            if not piece:
                break
            answer += piece
    return answer.decode("ascii", "replace")


def _of_program(path: Path) -> Iterator[Endpoint]:
    """Raises OSError, ValueError."""
    return _endpoints(path.stem, _query(path))


def _endpoints(interface: str, answer: str) -> Iterator[Endpoint]:
    """From lines such as `endpoint=192.0.2.1:51820` or `endpoint=[2001:db8::1]:51820`."""
    for line in answer.splitlines():
        key, _, value = line.partition("=")
        host, _, port = value.rpartition(":")
        if key == "endpoint":
            yield endpoint(interface, host.strip("[]"), int(port))


def endpoint(interface: str, host: str, port: int) -> Endpoint:
    address = ip_address(host.partition("%")[0])
    return Endpoint(interface, address.version, int(address), port)
