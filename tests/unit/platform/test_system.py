"""What the router's end of Linux remembers of what it has asked the guard for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from router.platform.base.errors import PlatformError
from router.platform.linux import system
from router.platform.linux.system import LinuxSystem
from router.platform.privileged.channel import Message
from router.policy.capture import Route

OLD, NEW = [Route(4, 1 << 24, 8, 1500)], [Route(4, 2 << 24, 8, 1500)]


class MemoryGuard:
    """See GuardClient. `refuses`: whether routes can't be changed at present."""

    def __init__(self, reread: Sequence[str]) -> None:
        self.routes: Any = None
        self.refuses = False

    def call(self, operation: str, **arguments: Any) -> Message:
        if arguments["routes"] is not None:
            self.routes = arguments["routes"]
        if self.refuses:
            raise PlatformError("no")
        return Message(([], []))


def test_routes_that_were_refused_are_not_taken_for_those_of_last_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The guard knows those that it was given last, be they refused: the former ones must be sent
    again to be put back."""
    guard = MemoryGuard(())
    monkeypatch.setattr(system, "GuardClient", lambda *_: guard)
    linux = LinuxSystem(())
    linux.add_routes(OLD)
    guard.refuses = True
    with pytest.raises(PlatformError):
        linux.reconcile(NEW)
    guard.refuses = False
    linux.reconcile(OLD)
    assert guard.routes is OLD
