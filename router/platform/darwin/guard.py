"""The guard's program on macOS; see router.platform.privileged."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

from router.platform.darwin.kernel import Xnu
from router.platform.darwin.operations.all import DarwinOperations
from router.platform.darwin.processes_kernel import XnuProcesses
from router.platform.darwin.runtime import RUNTIME
from router.platform.log import log_to
from router.platform.privileged.arguments import parted_commands
from router.platform.privileged.guard import serve
from router.platform.reason import reason, remedy

log = logging.getLogger(__name__)


def main(arguments: Sequence[str]) -> int:
    """Serve the router; the exit status. arguments: see BETWEEN_COMMANDS."""
    xnu = Xnu()
    commands = parted_commands(arguments)
    try:
        return serve(DarwinOperations(xnu, xnu, XnuProcesses(), RUNTIME, commands))
    except OSError as error:
        log.error("the guard cannot go on: %s: %s", reason(error), remedy(error))  # noqa: TRY400 - for people
        return 1


if __name__ == "__main__":
    log_to(sys.stderr, os.environ)
    sys.exit(main(sys.argv[1:]))
