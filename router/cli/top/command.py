"""Starts the screen, where there is a terminal for it and a router that answers."""

from __future__ import annotations

import os
import sys
from typing import Final

from router.cli import exits
from router.control.client import NoAnswerError
from router.platform.base.errors import PlatformError
from router.platform.colours import has_colours

INSTEAD: Final = "`tunrouter status` and `tunrouter flows` print the same as text"


def top(tun: str | None, interval: float) -> int:
    """Show the router with a TUN, or the only one; the exit status.

    interval: seconds between two readings.
    """
    from router.cli.top.source import Source, read  # noqa: PLC0415 - what follows takes 0.3 s

    why = unfit_terminal()
    if why is not None:
        return _refuse(f"{why}: {INSTEAD}")
    try:
        first = read(tun)
    except (NoAnswerError, PlatformError) as error:
        return _refuse(str(error))
    from router.cli.top.model import Model  # noqa: PLC0415
    from router.cli.top.screen import FOREIGN, Top  # noqa: PLC0415

    source = Source(tun, interval)
    try:
        app = Top(Model(), first, source.start, colours=has_colours(sys.stdout))
    except (LookupError, TypeError, ValueError, AttributeError):
        return _refuse(FOREIGN)
    _forget_exported_size()
    app.run(mouse=False)
    source.stop()
    return exits.OK


def unfit_terminal() -> str | None:
    """Why there can be no screen here; None where there can."""
    if not all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
        return "this is no terminal"
    term = os.environ.get("TERM", "")
    if term in ("", "dumb", "unknown"):
        return f"the terminal cannot move its cursor (TERM is {term or 'not set'})"
    return None


def _forget_exported_size() -> None:
    """What a shell has exported is the terminal's size of that time, and textual would take it for
    the present one."""
    for name in ("COLUMNS", "LINES"):
        os.environ.pop(name, None)


def _refuse(why: str) -> int:
    print(f"tunrouter top: {why}", file=sys.stderr)
    return exits.FAILED
