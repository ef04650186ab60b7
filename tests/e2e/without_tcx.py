"""tunrouter on a kernel without tcx (before 6.6): the same command line.

python -m tests.e2e.without_tcx run -c rules.yaml
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import router.platform.linux.system
from router.cli import main
from router.platform.privileged.client import GuardClient

GUARD = "tests.e2e.guard_without_tcx"


def guard_without_tcx(module: str, arguments: Sequence[str]) -> GuardClient:
    return GuardClient(GUARD, (module, *arguments))


if __name__ == "__main__":
    router.platform.linux.system.GuardClient = guard_without_tcx  # type: ignore[assignment, attr-defined]
    sys.exit(main())
