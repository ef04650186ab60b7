"""The guard's program on Linux; see router.platform.privileged."""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import sys
from collections.abc import Sequence
from typing import Final

from router.platform.ending import end
from router.platform.linux.operations.all import LinuxOperations
from router.platform.log import log_to
from router.platform.privileged.arguments import parted_commands
from router.platform.privileged.guard import serve
from router.platform.reason import reason, remedy

MEMORY: Final = 4 << 30
"""Bytes of address space of the guard, and of each process that it starts."""


log = logging.getLogger(__name__)


def main(arguments: Sequence[str]) -> int:
    """Serve the router; the exit status. arguments: see BETWEEN_COMMANDS."""
    _limit_memory()
    try:
        return serve(LinuxOperations(*parted_commands(arguments)))
    except OSError as error:
        log.error("the guard cannot go on: %s: %s", reason(error), remedy(error))  # noqa: TRY400 - for people
        return 1


def _limit_memory() -> None:
    """A service may not be allowed to change limits."""
    with contextlib.suppress(OSError):
        _, most = resource.getrlimit(resource.RLIMIT_AS)
        limit = MEMORY if most == resource.RLIM_INFINITY else min(MEMORY, most)
        resource.setrlimit(resource.RLIMIT_AS, (limit, most))


if __name__ == "__main__":
    log_to(sys.stderr, os.environ)
    end(main(sys.argv[1:]))
