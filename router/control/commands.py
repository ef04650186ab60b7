"""The commands that a running router answers, and their server."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from functools import partial

from router.control.connection import Answer
from router.control.explain import Explainer
from router.control.flows import BadFilterError, flow_filter, flows
from router.control.follow import Timers, at_interval, bad_interval, of_events
from router.control.protocol import too_old
from router.control.server import Commands, Server
from router.control.status import status
from router.control.trace import of_trace, trace_filter
from router.engine.reload.outcome import Outcome
from router.engine.router import Router
from router.flows.trace.words import BadFilterError as BadTraceFilterError
from router.platform.base.errors import PlatformError

log = logging.getLogger(__name__)


@contextmanager
def serve_control(router: Router) -> Iterator[None]:
    """Serve the control socket of a router; without one it routes all the same."""
    try:
        listener = router.system.processes.control_socket()
    except PlatformError as error:
        log.warning("%s; `status`, `flows` and `reload` do not reach this router", error)
        yield
        return
    with closing(Server(listener, router.loop, commands(router))):
        yield


def commands(router: Router) -> Commands:
    """By name, what answers a command."""

    def answer_status(answer: Answer) -> None:
        _reply_or_follow(answer, lambda: status(router), router.loop)

    def answer_flows(answer: Answer) -> None:
        refusal = too_old(answer.request, "flows", 2)
        try:
            wanted = flow_filter(answer.request, router.config)
        except BadFilterError as error:
            refusal = refusal or str(error)
        if refusal is not None:
            answer.refuse(refusal)
        else:
            _reply_or_follow(answer, lambda: flows(router, wanted), router.loop)

    def answer_events(answer: Answer) -> None:
        recent = router.events.recent if answer.request.get("recent") is True else ()
        answer.follow(partial(of_events, router.events, recent=tuple(recent)))

    def answer_trace(answer: Answer) -> None:
        try:
            wanted = trace_filter(answer.request, router.config)
        except BadTraceFilterError as error:
            answer.refuse(str(error))
        else:
            tun = router.tun.name
            answer.follow(partial(of_trace, router.observer, wanted, tun, router.loop))

    def answer_reload(answer: Answer) -> None:
        router.reload.request(lambda outcome: answer.reply([as_line(outcome)]))

    return {
        "status": answer_status,
        "flows": answer_flows,
        "events": answer_events,
        "explain": Explainer(router.system.processes, router.loop).answer,
        "trace": answer_trace,
        "reload": answer_reload,
    }


def _reply_or_follow(answer: Answer, make: Callable[[], Iterable[bytes]], loop: Timers) -> None:
    """Once, or at the interval that the request has."""
    interval = answer.request.get("interval_s")
    refusal = None if interval is None else bad_interval(interval)
    if refusal is not None:
        answer.refuse(refusal)
    elif interval is None:
        answer.reply(make())
    else:
        answer.follow(partial(at_interval, make, interval, loop))


def as_line(outcome: Outcome) -> bytes:
    """The outcome of a reload, as JSON."""
    return json.dumps(outcome.as_json()).encode() + b"\n"
