"""The guard's program over the fakes of xnu, for a runtime directory:

    python -m tests.unit.darwin.fake_guard DIRECTORY

It changes a FakeMac, and speaks with the router as the real one does.
"""

from __future__ import annotations

import sys
from pathlib import Path

from router.platform.darwin.operations.all import DarwinOperations
from router.platform.privileged import guard
from router.platform.privileged.runtime import RuntimeDirectory
from tests.unit.darwin.fake_mac import FakeMac
from tests.unit.darwin.fake_processes import processes

if __name__ == "__main__":
    mac = FakeMac()
    directory = Path(sys.argv[1])
    runtime = RuntimeDirectory(lambda: (directory,), "df")
    guard.KEEPS_UNTIL_RECEIVED = True  # type: ignore[misc] # as on a Mac
    sys.exit(guard.serve(DarwinOperations(mac.kernel, mac, processes(), runtime, ((), ()))))
