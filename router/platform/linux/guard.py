"""The guard's program on Linux; see router.platform.privileged."""

from __future__ import annotations

import os
import sys

from router.platform.linux.operations.all import LinuxOperations
from router.platform.linux.reread import Program
from router.platform.log import log_to
from router.platform.privileged.guard import serve

if __name__ == "__main__":
    log_to(sys.stderr, os.environ)
    sys.exit(serve(LinuxOperations(Program(sys.argv[1:]))))
