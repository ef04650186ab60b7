"""The client of the control socket: finds the running router and sends it a request.

Always true: it takes a bounded time and bounded memory; whatever goes wrong is one sentence for
people that names the remedy; no text of an answer can move a cursor, hide other text or command a
terminal, since the router may have been taken over and its clients are root's.

Must not know: what the questions mean, how answers are printed.
"""

from __future__ import annotations

import contextlib
import errno
import json
import socket
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from router.config.text import harmless
from router.platform import control_sockets

PATIENCE: Final = 10.0
"""Seconds for each step: an answer is begun at once, however busy the router is."""
PIECE: Final = 1 << 16
LONGEST_ANSWER: Final = 1 << 30
"""Bytes; some ten times that of a million rules, or of full flow tables."""
LONGEST_LINE: Final = 1 << 24
"""Bytes of one to a client that follows."""
TOO_LONG: Final = "the router sends without end: restart it"
ESCAPES: Final = (b"\\u", b"\\b", b"\\f", b"\\r", b"\x7f")
"""What JSON in ASCII has where there may be characters that are not printable."""
KEPT: Final = "\t\n"
NONE_RUNNING: Final = "no router is running here: start one with sudo tunrouter run"
OLDER_ROUTER: Final = "; the router that runs is of an older version than this command: restart it"


class NoAnswerError(Exception):
    """No router runs, or it does not answer, or it refuses; the message names the remedy."""


def find_router(tun: str | None) -> Path:
    """The socket of the router with that TUN, or of the only one of this network namespace.

    Raises NoAnswerError, and PlatformError where no router can run.
    """
    found = control_sockets()
    if len(found) > 1 and tun not in found:
        found = {name: path for name, path in found.items() if not _is_dead(path)}
    if not found:
        raise NoAnswerError(NONE_RUNNING)
    if tun in found:
        return found[tun]
    running = ", ".join(found)
    if tun is not None:
        raise NoAnswerError(f"no router is running with the TUN {tun}; running: {running}")
    if len(found) > 1:
        raise NoAnswerError(f"several routers are running, {running}: say which by --tun NAME")
    return next(iter(found.values()))


def request(path: Path, request: Mapping[str, Any], patience: float = PATIENCE) -> dict[str, Any]:
    """What the router answers. patience: seconds that it may be silent.

    Raises NoAnswerError.
    """
    with _reached(path, patience) as sock:
        received = _exchange(sock, json.dumps(request).encode() + b"\n")
    return understood(received, request)


def follow(path: Path, request: Mapping[str, Any]) -> Generator[dict[str, Any], None, None]:
    """Each line that the router sends, until it ends; it may be silent for any time. {"lost": n}
    stands for n lines that this process was too slow for.

    request: one that the router answers by lines. Raises NoAnswerError.
    """
    with _reached(path, PATIENCE) as sock:
        sock.sendall(json.dumps(request).encode() + b"\n")
        sock.settimeout(None)
        with sock.makefile("rb") as lines, contextlib.suppress(ConnectionResetError):
            while line := lines.readline(LONGEST_LINE):
                if len(line) == LONGEST_LINE:
                    raise NoAnswerError(TOO_LONG)
                yield understood(line, request)


class Follower:
    """The lines that a router sends, for clients that wait for something else as well."""

    def __init__(self, sock: socket.socket, request: Mapping[str, Any]) -> None:
        self._socket = sock
        self._request = request
        self._rest = b""

    def fileno(self) -> int:
        return self._socket.fileno()

    def read(self) -> list[dict[str, Any]] | None:
        """Those that have come, when it is readable; None at the end. Raises NoAnswerError."""
        try:
            received = self._socket.recv(PIECE)
        except ConnectionResetError:
            received = b""
        *lines, self._rest = (self._rest + received).split(b"\n")
        if len(self._rest) > LONGEST_LINE:
            raise NoAnswerError(TOO_LONG)
        return [understood(line, self._request) for line in lines] if received else None


@contextlib.contextmanager
def following(path: Path, request: Mapping[str, Any]) -> Iterator[Follower]:
    """As `follow`, line by line as they come. Raises NoAnswerError."""
    with _reached(path, PATIENCE) as sock:
        sock.sendall(json.dumps(request).encode() + b"\n")
        yield Follower(sock, request)


@contextlib.contextmanager
def _reached(path: Path, patience: float) -> Iterator[socket.socket]:
    """A connection; what goes wrong with it is a NoAnswerError."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(patience)
            sock.connect(str(path))
            yield sock
    except PermissionError as error:
        raise NoAnswerError(
            f"only root may use the control socket: put sudo before the command ({path})"
        ) from error
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise NoAnswerError(NONE_RUNNING) from error
    except TimeoutError as error:
        raise NoAnswerError(
            f"the router does not answer ({path}, waited {patience:g} s): look at its log"
        ) from error
    except OSError as error:
        raise NoAnswerError(f"the router cannot be reached ({path}): {error.strerror}") from error


def _exchange(sock: socket.socket, request: bytes) -> bytes:
    """Send the request; everything that is answered. A router that refuses may close before it has
    read the request, and its answer is read all the same. Raises NoAnswerError for one without
    end."""
    received = bytearray()
    with contextlib.suppress(BrokenPipeError):
        sock.sendall(request)
    with contextlib.suppress(ConnectionResetError):
        while piece := sock.recv(PIECE):
            received += piece
            if len(received) > LONGEST_ANSWER:
                raise NoAnswerError(TOO_LONG)
    return bytes(received)


def begun(path: Path, request: Mapping[str, Any]) -> socket.socket:
    """A connection on which a request is sent, and whose answer the caller reads.

    Raises NoAnswerError.
    """
    with _reached(path, PATIENCE) as sock:
        sock.sendall(json.dumps(request).encode() + b"\n")
        return socket.socket(fileno=sock.detach())


def understood(received: bytes, request: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON object of an answer, or of a line. Raises NoAnswerError for a refusal too."""
    try:
        answer = _harmless_json(received)
    except (ValueError, RecursionError) as error:
        raise NoAnswerError("the router ended while it answered: try again") from error
    if not isinstance(answer, dict):
        raise NoAnswerError("the router answered something else: is it of another version?")
    if "error" in answer:
        is_older = "version" not in answer and request.get("version", 1) > 1
        raise NoAnswerError(str(answer["error"]) + (OLDER_ROUTER if is_older else ""))
    return answer


def _harmless_json(received: bytes) -> Any:
    """The value, all of whose text is harmless; line breaks and tabs stay. Raises ValueError,
    RecursionError."""
    value = json.loads(received.decode())
    if received.isascii() and not any(each in received for each in ESCAPES):
        return value  # a list of all flows has megabytes
    return _harmless_value(value)


def _harmless_value(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.isprintable() else "".join(map(_harmless_char, value))
    if isinstance(value, list):
        return [_harmless_value(each) for each in value]
    if isinstance(value, dict):
        return {_harmless_value(name): _harmless_value(each) for name, each in value.items()}
    return value


def _harmless_char(char: str) -> str:
    return char if char in KEPT else harmless(char)


def _is_dead(path: Path) -> bool:
    """Whether it is the socket of a router that was killed and not cleaned up after."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        return probe.connect_ex(str(path)) in (errno.ECONNREFUSED, errno.ENOENT)
