"""What all proxies of a router use.

Must not know: what any of them is for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from router.flows.drops import Drop
from router.outbound.base import ChangeWatcher
from router.outbound.descriptors import Descriptors
from router.outbound.socks5.addresses import Names
from router.platform.base.descriptors import HasFileno


class Loop(ChangeWatcher, Protocol):
    """The part of the event loop that a proxy needs; see router.engine.loop."""

    now: float

    def call_later(self, delay: float, callback: Callable[[], None]) -> None: ...

    def report_readable(self, source: HasFileno) -> None: ...


class Tools:
    """What all proxies use. count: counts a packet that is dropped. changed: called when one has
    gone up or down. names: resolves host names."""

    def __init__(
        self,
        loop: Loop,
        descriptors: Descriptors,
        count: Callable[[Drop], None],
        changed: Callable[[], None],
        names: Names,
    ) -> None:
        self.loop = loop
        self.descriptors = descriptors
        self.count = count
        self.changed = changed
        self.names = names
