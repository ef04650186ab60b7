"""The paths of the web process, and what they answer. docs/web.md describes them.

Always true: what the router says about itself is passed on as it says it; that it cannot be reached
is an answer as well: status 503, and for the page, which goes on, a member `error`.

Must not know: how the router is reached.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from router import __version__
from router.control.client import NoAnswerError
from router.control.web.access import Access
from router.control.web.answers import FRESH, RECENT, as_bytes
from router.control.web.event_log import EventLog
from router.control.web.files import PageFile, page_files
from router.control.web.history import History
from router.control.web.metrics import CONTENT_TYPE, exposition
from router.control.web.query import (
    MOST,
    BadQueryError,
    busiest_rules,
    chosen_flows,
    number,
    question,
)

RULES_SHOWN: Final = 500
FLOWS_SHOWN: Final = 200
"""Of the page."""


class AnswersQuestions(Protocol):
    """See router.control.web.answers."""

    async def status(self, age: float = FRESH) -> dict[str, Any]: ...

    async def flows(self, age: float = FRESH) -> dict[str, Any]: ...

    async def explain(self, question: Mapping[str, Any]) -> dict[str, Any]: ...

    def events(self, reached: Callable[[], None]) -> AsyncIterator[dict[str, Any]]: ...


class Pages:
    """What the paths answer."""

    def __init__(self, answers: AnswersQuestions, history: History, events: EventLog) -> None:
        self._answers = answers
        self._history = history
        self._events = events

    def routes(self) -> list[Route]:
        answered = {
            "/api/status": self.status,
            "/api/flows": self.flows,
            "/api/events": self.events,
            "/api/history": self.history,
            "/api/explain": self.explain,
            "/api/page": self.page,
            "/metrics": self.metrics,
        }
        files = [Route(path, _serving(file)) for path, file in page_files().items()]
        return [*files, *(Route(path, endpoint) for path, endpoint in answered.items())]

    @asynccontextmanager
    async def running(self, _: Starlette) -> AsyncIterator[None]:
        """Follow the router."""
        tasks = [
            asyncio.create_task(self._events.follow(self._answers)),
            asyncio.create_task(self._history.sample(self._answers)),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def status(self, _: Request) -> Response:
        return _json(await self._answers.status())

    async def flows(self, request: Request) -> Response:
        return _json(await self._flows(dict(request.query_params)))

    async def events(self, request: Request) -> Response:
        after = number(dict(request.query_params), "after", 0, MOST) or 0
        return _json({"events": self._events.after(after), "last": self._events.last})

    async def history(self, _: Request) -> Response:
        return _json(self._history.as_json())

    async def explain(self, request: Request) -> Response:
        try:
            return _json(await self._answers.explain(question(dict(request.query_params))))
        except (BadQueryError, NoAnswerError) as error:
            return _json({"error": str(error)})

    async def metrics(self, _: Request) -> Response:
        text = exposition(await self._answers.status(), __version__)
        return Response(text, media_type=CONTENT_TYPE)

    async def page(self, request: Request) -> Response:
        """All that the page shows, so that it has one request a second."""
        query = dict(request.query_params)
        after = number(query, "after", 0, MOST) or 0
        only_never_hit = bool(number(query, "never_hit", 0, 1))
        answer: dict[str, Any] = {"version": __version__}
        try:
            status, flows = await asyncio.gather(
                self._answers.status(RECENT),
                self._flows({"limit": str(FLOWS_SHOWN), **query}, RECENT),
            )
        except NoAnswerError as error:
            answer["error"] = str(error)
        else:
            rules = status["rules"]
            never_hit = [rule for rule in rules if not rule["packets"]]
            wanted = never_hit if only_never_hit else rules
            answer["status"] = {**status, "rules": busiest_rules(wanted, RULES_SHOWN)}
            answer["rules_total"] = len(rules)
            answer["rules_never_hit"] = len(never_hit)
            answer["flows"] = flows
        events = self._events.after(after)
        return _json({**answer, "events": events, "last": self._events.last})

    async def _flows(self, query: dict[str, str], age: float = FRESH) -> dict[str, Any]:
        answer = await self._answers.flows(age)
        total, flows = chosen_flows(answer["flows"], query)
        return {"flows": flows, "total": total, "unread": answer["unread"]}


def application(
    answers: AnswersQuestions,
    token: str | None,
    names: Iterable[str],
    history: History | None = None,
) -> ASGIApp:
    """names: of this machine. history: one to go on with. Raises OSError where the files of the
    page cannot be read."""
    pages = Pages(answers, history or History(), EventLog())
    app = Starlette(
        routes=pages.routes(),
        lifespan=pages.running,
        exception_handlers={NoAnswerError: _unavailable, BadQueryError: _bad_query},
    )
    return Access(app, token, names)


def _serving(file: PageFile) -> Any:
    async def serve(_: Request) -> Response:
        return Response(file.content, media_type=file.media_type)

    return serve


async def _unavailable(_: Request, error: Exception) -> Response:
    return _json({"error": str(error)}, 503)


async def _bad_query(_: Request, error: Exception) -> Response:
    return _json({"error": str(error)}, 400)


def _json(value: Any, status: int = 200) -> Response:
    return Response(as_bytes(value), status, media_type="application/json")
