"""The guard: a small process with the privileges that the router gives up.

Theory of operation. The guard is started as root, with a session of its own, and does what the
router asks for over the one connection between them: `operations`, by name and with their
arguments as JSON; sockets and the TUN go over as descriptors. It reads no packet and no rules. What
outlives the TUN is written down by a third process, the `undoer`, before it is done.

    router   ----->  guard    -----> undoer
    any user         root            root

Whoever dies, the others see a connection end. The router: the guard ends, and the undoer undoes.
The guard: the undoer undoes, the router stops. The undoer: the guard undoes, the router stops. Both
of these: nobody is left with the rights to undo, and the router says what to do.

Always true: the guard ends with the router, and all is undone then; a request that makes no sense
is refused and changes nothing.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Any, Final

from pyroute2.netlink.exceptions import NetlinkError

from router.platform.base import PlatformError
from router.platform.linux.channel import Channel, Message
from router.platform.linux.operations import Operations
from router.platform.linux.reread import Program
from router.platform.log import log_to
from router.platform.reason import reason

CONNECTION: Final = 0
"""The descriptor that it is born with."""


def main(reread: Sequence[str]) -> int:
    """Serve until the router is gone, then undo; the exit status.

    rereading: the command that reads the rules anew.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    operations = Operations(Program(reread))
    channel = Channel(socket.socket(fileno=CONNECTION))
    while _is_asked(channel, operations):
        try:
            request = channel.receive()
        except (EOFError, ValueError, OSError):
            break
        if not _answer(channel, carry_out(operations, request)):
            break
    channel.close()
    operations.program.end()
    return 0 if operations.undoer is None or operations.undoer.close() else 1


def _is_asked(channel: Channel, operations: Operations) -> bool:
    """Wait for a request; False when it is the undoer that has something to say: it is gone."""
    sources = [channel.fileno()]
    if operations.undoer is not None:
        sources.append(operations.undoer.fileno())
    ready, _, _ = select.select(sources, [], [])
    return ready == [channel.fileno()]


def carry_out(operations: Operations, request: Message) -> Message:
    """The answer to a request: {"value": …}, {"refused": why} or {"errno": number}."""
    for descriptor in request.descriptors:
        os.close(descriptor)
    try:
        name, arguments = request.value
        done: Message = operations.by_name[name](**arguments)
    except PlatformError as error:
        return Message({"refused": str(error)})
    except NetlinkError as error:
        return Message({"errno": error.code})
    except OSError as error:
        return Message({"errno": error.errno} if error.errno else {"refused": reason(error)})
    except Exception as error:  # whatever is wrong with a request must not end the guard
        return Message(
            {"refused": f"the guard makes nothing of {_short(request.value)}: {reason(error)}"}
        )
    return Message({"value": done.value}, done.descriptors)


def _answer(channel: Channel, answer: Message) -> bool:
    """Whether it could be sent; what is sent along is kept no longer."""
    try:
        channel.send(answer)
    except OSError:
        return False
    finally:
        for descriptor in answer.descriptors:
            os.close(descriptor)
    return True


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 100 else text[:99] + "…"


if __name__ == "__main__":
    log_to(sys.stderr, os.environ)
    sys.exit(main(sys.argv[1:]))
