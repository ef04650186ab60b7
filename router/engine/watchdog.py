"""The supervisor's watchdog.

Always true: notifications come from the event loop, so that a loop that hangs is found.
"""

from __future__ import annotations

from router.engine.loop import Loop
from router.platform.base.processes import Supervisor


def run_watchdog(supervisor: Supervisor, loop: Loop) -> None:
    """Notify the watchdog now, and from now on at the interval that the supervisor has set."""
    supervisor.alive()
    if supervisor.watchdog is not None:
        loop.call_later(supervisor.watchdog, lambda: run_watchdog(supervisor, loop))
