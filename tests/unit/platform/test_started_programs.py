"""Programs that the guard starts, where this process has no room for the descriptor of their
output: the kernel drops it (unix(7)), and the reply comes without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from router.platform.base.errors import PlatformError
from router.platform.privileged.channel import Message
from router.platform.privileged.client import Done
from router.platform.privileged.processes import GuardedProcesses


class FullGuard:
    """See GuardClient; its replies have lost their descriptors."""

    def call(self, operation: str) -> Message:
        assert operation in ("start_reread", "start_watch")
        return Message(None)

    def request(self, operation: str, done: Done, **_: Any) -> None:
        assert operation in ("start_resolver", "start_explain", "start_web")
        done(Message(None))


PROCESSES = GuardedProcesses(cast(Any, FullGuard()))
LACKING = "no descriptor is left for the program that was started: raise `ulimit -n`"


@pytest.mark.parametrize("start", [PROCESSES.start_reread, PROCESSES.start_watch])
def test_a_program_that_is_waited_for(start: Callable[[], object]) -> None:
    with pytest.raises(PlatformError, match=LACKING):
        start()


@pytest.mark.parametrize(
    "start",
    [
        lambda done: PROCESSES.start_resolver("proxy.example", done),
        lambda done: PROCESSES.start_explain({"destination": "192.0.2.1"}, done),
        lambda done: PROCESSES.start_web("127.0.0.1", 8080, None, done),
    ],
    ids=["resolver", "explain", "web"],
)
def test_a_program_that_is_started_without_waiting(
    start: Callable[[Callable[[object], None]], None],
) -> None:
    found: list[object] = []
    start(found.append)
    assert [str(each) for each in found] == [LACKING]
    assert isinstance(found[0], PlatformError)
