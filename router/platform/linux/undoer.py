"""The undoer's program on Linux; see router.platform.privileged.recording."""

from __future__ import annotations

import sys

from router.platform.ending import end
from router.platform.linux.undoable import LINUX
from router.platform.privileged.recording import run

if __name__ == "__main__":
    end(run(LINUX, sys.argv[1:]))
