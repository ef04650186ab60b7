"""The rights of the two processes of the web process; see router.control.web.

macOS has no capabilities, and no filter of system calls that a program may set for itself. So the
process that strangers send to has the rights of the router's account, and may connect; the one that
asks the router stays root, since the control socket is root's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from router.platform.account import become, usual_account
from router.platform.terminal import leave_terminal


@contextmanager
def confine_server() -> Iterator[None]:
    """Raises PlatformError."""
    leave_terminal()
    become(usual_account())
    yield
