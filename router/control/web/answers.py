"""The latest answers of the router, each read once for all who want it at a time.

Always true: however many clients ask, the router is asked for the same thing once at a time, and
answering takes at most a SHARE of its time; an answer is no older than a client allows.

Must not know: HTTP.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final, Protocol

from router.control.client import NoAnswerError, understood

PATIENCE: Final = 10.0
"""Seconds until an answer has to be complete."""
EXPLAIN_PATIENCE: Final = 25.0
"""The same where the rules are read first."""
FRESH: Final = 0.0
RECENT: Final = 0.4
"""Seconds by which the router may have answered before it was asked."""
SILENT: Final = 0.5
SHARE: Final = 0.1
LONGEST_LINE: Final = 1 << 20
"""Bytes of an event."""

Answer = dict[str, Any]


class Opens(Protocol):
    """See Connections."""

    async def open(self, request: Mapping[str, Any]) -> Any: ...


class Answers:
    """Of one router."""

    def __init__(self, connections: Opens, clock: Callable[[], float] = time.monotonic) -> None:
        self._connections = connections
        self._status = Latest(lambda: self._ask({"command": "status"}), clock)
        self._flows = Latest(lambda: self._ask({"command": "flows", "version": 2}), clock)

    async def status(self, age: float = FRESH) -> Answer:
        """Raises NoAnswerError, as all that follow."""
        return await self._status.get(age)

    async def flows(self, age: float = FRESH) -> Answer:
        return await self._flows.get(age)

    async def explain(self, question: Mapping[str, Any]) -> Answer:
        return await self._ask({"command": "explain", "version": 2, **question}, EXPLAIN_PATIENCE)

    async def events(self, reached: Callable[[], None]) -> AsyncIterator[Answer]:
        """Those that the router still knows, then each that happens, until the router ends.

        reached: called before each, and once the router has not refused for SILENT seconds.
        """
        request = {"command": "events", "version": 2, "recent": True}
        reader, writer = await self._begun(request)
        is_not_refused = asyncio.get_running_loop().call_later(SILENT, reached)
        try:
            while line := await reader.readline():
                event = understood(line, request)
                reached()
                yield event
        except (OSError, ValueError):  # it has ended, or a line is longer than any event
            return
        finally:
            is_not_refused.cancel()
            writer.close()

    async def _ask(self, request: Mapping[str, Any], patience: float = PATIENCE) -> Answer:
        try:
            async with asyncio.timeout(patience):
                reader, writer = await self._begun(request)
                try:
                    received = await reader.read()
                finally:
                    writer.close()
        except TimeoutError as error:
            raise NoAnswerError(f"the router does not answer within {patience:g} s") from error
        except OSError as error:
            raise NoAnswerError("the router ended while it answered: try again") from error
        return understood(received, request)

    async def _begun(
        self, request: Mapping[str, Any]
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        sock = await self._connections.open(request)
        return await asyncio.open_unix_connection(sock=sock, limit=LONGEST_LINE)


class Latest:
    """The answer to one request. fetch: asks the router."""

    def __init__(self, fetch: Callable[[], Any], clock: Callable[[], float]) -> None:
        self._fetch = fetch
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._answer: Answer = {}
        self._began = float("-inf")
        self._rests_until = float("-inf")

    async def get(self, age: float) -> Answer:
        """One that was begun so many seconds ago at most. Raises NoAnswerError."""
        oldest = self._clock() - age
        while self._began < oldest:
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._ask())
            await asyncio.shield(self._task)
        return self._answer

    async def _ask(self) -> None:
        await asyncio.sleep(max(0.0, self._rests_until - self._clock()))
        began = self._clock()
        try:
            self._answer = await self._fetch()
            self._began = began
        finally:
            now = self._clock()
            self._rests_until = now + (now - began) * (1 / SHARE - 1)


def as_bytes(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
