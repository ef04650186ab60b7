"""The guard's program on Linux; see router.platform.privileged."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
from typing import Final

from router.platform.linux.operations.all import LinuxOperations
from router.platform.linux.reread import Program
from router.platform.log import log_to
from router.platform.privileged.guard import serve

MEMORY: Final = 4 << 30
"""Bytes of address space of the guard, and of each process that it starts."""


if __name__ == "__main__":
    log_to(sys.stderr, os.environ)
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    limit = MEMORY if most == resource.RLIM_INFINITY else min(MEMORY, most)
    with contextlib.suppress(OSError):  # of a service that may not change limits
        resource.setrlimit(resource.RLIMIT_AS, (limit, most))
    sys.exit(serve(LinuxOperations(Program(sys.argv[1:]))))
