"""The guard of Linux on a kernel without tcx (before 6.6); see without_tcx.

python -m tests.e2e.guard_without_tcx router.platform.linux.guard ...

The first argument is the usual guard's name, by which tests find the process.
"""

from __future__ import annotations

import os
import sys

from router.platform.linux.bpf import syscall
from router.platform.linux.guard import main
from router.platform.log import log_to

UNKNOWN = 0xFFFF
"""Of a place to attach programs to."""

if __name__ == "__main__":
    syscall.TCX_INGRESS = UNKNOWN  # type: ignore[misc]
    syscall.TCX_EGRESS = UNKNOWN  # type: ignore[misc]
    log_to(sys.stderr, os.environ)
    sys.exit(main(sys.argv[2:]))
