"""The rights of the two processes of the web process; see router.control.web.

Always true: neither may start a program, become another user, write a file or signal a process;
the one that strangers send to may not connect to anything either.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Final

from router.platform.account import become, usual_account
from router.platform.base.errors import PlatformError
from router.platform.linux.sandbox import enter
from router.platform.reason import reason
from router.platform.terminal import leave_terminal

log = logging.getLogger(__name__)

OUTWARD: Final = ("socket", "connect", "bind")


def confine_connector() -> None:
    """It stays root, since the control socket is root's, and without capabilities. Raises
    PlatformError."""
    try:
        enter.empty_bounding_set()
        enter.drop_capabilities()
        enter.forbid_new_privileges()
    except OSError as error:
        raise PlatformError(f"privileges cannot be given up: {reason(error)}") from error
    _filter()


@contextmanager
def confine_server() -> Iterator[None]:
    """Raises PlatformError."""
    leave_terminal()
    enter.empty_bounding_set()
    become(usual_account())
    enter.forbid_new_privileges()
    yield
    _filter(OUTWARD)


def _filter(without: Collection[str] = ()) -> None:
    try:
        enter.filter_system_calls(without)
    except OSError as error:
        log.warning(
            "this system has no filter of system calls for the web process (seccomp: %s)",
            reason(error),
        )
