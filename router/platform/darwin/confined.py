"""The rights of the two processes of the web process; see router.control.web.

macOS has no capabilities, and no filter of system calls that a program may set for itself. So both
have those of the router's account: the server, which strangers send to, and the connector, which is
in the one group besides whose processes may connect to the control socket (`runtime`, `peer`).

Always true: neither can become root again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from router.platform.account import become, usual_account
from router.platform.darwin.runtime import CONNECTORS
from router.platform.terminal import leave_terminal


def confine_connector() -> None:
    """It keeps the terminal, whose Ctrl-C ends it, and the server by that. Raises PlatformError."""
    become(usual_account(), CONNECTORS)


@contextmanager
def confine_server() -> Iterator[None]:
    """Raises PlatformError."""
    leave_terminal()
    become(usual_account())
    yield
