"""The undoer's program on Linux; see router.platform.privileged.undoer."""

from __future__ import annotations

import sys

from router.platform.ending import end
from router.platform.linux.undoable import LINUX
from router.platform.privileged.undoer import run

if __name__ == "__main__":
    end(run(LINUX, sys.argv[1:]))
