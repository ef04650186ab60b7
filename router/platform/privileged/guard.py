"""The guard's loop: requests of the router, one after the other.

Always true: the guard ends with the router, and everything is undone then; an invalid request is
refused and changes nothing.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any, Final, Protocol

from router.platform.base.descriptors import HasFileno
from router.platform.base.errors import PlatformError
from router.platform.privileged.channel import Channel, Message
from router.platform.reason import reason, remedy

log = logging.getLogger(__name__)

CONNECTION: Final = 0
"""The descriptor that the guard inherits."""
LARGEST_REQUEST: Final = 1 << 20
"""Bytes of JSON: 8,192 places to count at are half of it; routes are records."""
KEEPS_UNTIL_RECEIVED: Final = sys.platform == "darwin"
"""Whether a descriptor that is on its way has to stay open here. On macOS one that its sender
closes may be closed to the receiver too (CPython, Lib/multiprocessing/reduction.py, ACKNOWLEDGE;
its issue 14669), so there the router acknowledges them: see GuardClient."""
SHOWN: Final = 100
"""Characters of an invalid request that are quoted."""


class Operations(Protocol):
    """What the guard carries out. Each of `by_name` raises PlatformError or OSError."""

    by_name: Mapping[str, Callable[..., Message]]
    with_records: Container[str]
    """The names of those with an argument `records`, the bytes of the message."""

    @property
    def router(self) -> HasFileno | int | None:
        """Readable when the router's process is gone; None where the kernel has no such thing."""
        ...

    @property
    def undoer(self) -> HasFileno | None:
        """Readable when the undoer is gone; None before there is one."""
        ...

    def close(self) -> bool:
        """Undo everything; whether that has succeeded."""
        ...


def serve(operations: Operations) -> int:
    """Until the router or the undoer is gone, then undo; the exit status."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    channel = Channel(socket.socket(fileno=CONNECTION), LARGEST_REQUEST)
    channel.enlarge()
    kept: Sequence[int] = ()
    while _wait_for_request(channel, operations):
        try:
            request = channel.receive()
        except (EOFError, ValueError, ConnectionError):
            break
        except OSError as error:
            log.error("the guard cannot go on: %s: %s", reason(error), remedy(error))  # noqa: TRY400 - for people
            break
        _close(kept)  # a further request is sent by a router that has the reply before
        reply = carry_out(operations, request)
        kept = reply.descriptors
        if not _reply(channel, reply):
            break
        if not KEEPS_UNTIL_RECEIVED:
            _close(kept)
            kept = ()
    channel.close()
    _close(kept)
    return 0 if operations.close() else 1


def carry_out(operations: Operations, request: Message) -> Message:
    """The reply to a request: {"value": …}, {"refused": why} or {"errno": number}."""
    _close(request.descriptors)
    try:
        name, arguments = request.value
        records = {"records": request.records} if name in operations.with_records else {}
        result = operations.by_name[name](**arguments, **records)
    except PlatformError as error:
        return Message({"refused": str(error)})
    except OSError as error:
        return Message({"errno": error.errno} if error.errno else {"refused": reason(error)})
    except Exception as error:  # no invalid request may end the guard
        why = f"invalid request to the guard: {_short(request.value)}: {reason(error)}"
        return Message({"refused": why})
    return Message({"value": result.value}, result.descriptors)


def _wait_for_request(channel: Channel, operations: Operations) -> bool:
    """False when the undoer or the router's process is gone: a child of that may still have the
    connection."""
    ends = [each for each in (operations.undoer, operations.router) if each is not None]
    ready, _, _ = select.select([channel, *ends], [], [])
    return ready == [channel]


def _reply(channel: Channel, reply: Message) -> bool:
    """Whether it could be sent."""
    try:
        channel.send(reply)
    except OSError:
        return False
    return True


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < SHOWN else text[: SHOWN - 1] + "…"
