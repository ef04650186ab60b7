"""The commands that a running router answers, and their server."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import closing, contextmanager

from router.control.connection import Answer
from router.control.server import Commands, Server
from router.control.status import status
from router.engine.reload.outcome import Outcome
from router.engine.router import Router
from router.platform.base.errors import PlatformError

log = logging.getLogger(__name__)


@contextmanager
def serve_control(router: Router) -> Iterator[None]:
    """Serve the control socket of a router; without one it routes all the same."""
    try:
        listener = router.system.processes.control_socket()
    except PlatformError as error:
        log.warning("%s; `status` and `reload` do not reach this router", error)
        yield
        return
    with closing(Server(listener, router.loop, commands(router))):
        yield


def commands(router: Router) -> Commands:
    """By name, what answers a command."""

    def answer_status(answer: Answer) -> None:
        answer.reply(status(router))

    def answer_reload(answer: Answer) -> None:
        router.reload.request(lambda outcome: answer.reply([as_line(outcome)]))

    return {"status": answer_status, "reload": answer_reload}


def as_line(outcome: Outcome) -> bytes:
    """The outcome of a reload, as JSON."""
    return json.dumps(outcome.as_json()).encode() + b"\n"
