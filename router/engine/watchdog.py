"""Signs of life for whoever watches over us.

Always true: they come from the event loop, so that they are missed when it hangs.
"""

from __future__ import annotations

from router.engine.loop import Loop
from router.platform.base.processes import Supervisor


def run_watchdog(supervisor: Supervisor, loop: Loop) -> None:
    """Now, and from now on as often as the supervisor wants."""
    supervisor.alive()
    if supervisor.watchdog is not None:
        loop.call_later(supervisor.watchdog, lambda: run_watchdog(supervisor, loop))
