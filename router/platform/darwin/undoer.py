"""The undoer's program on macOS; see router.platform.privileged.recording."""

from __future__ import annotations

import sys

from router.platform.darwin.kernel import Xnu
from router.platform.darwin.processes_kernel import XnuProcesses
from router.platform.darwin.undoable import DarwinUndoable
from router.platform.ending import end
from router.platform.privileged.recording import run

if __name__ == "__main__":
    end(run(DarwinUndoable(Xnu(), XnuProcesses()), sys.argv[1:]))
