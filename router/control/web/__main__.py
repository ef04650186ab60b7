"""The program that the guard starts: settings on standard input, whose end ends it.

python -m router.control.web
"""

import os
import sys

from router.control.web.launch import serve
from router.control.web.settings import settings_of
from router.platform.log import log_to

INPUT = 0

if __name__ == "__main__":
    log_to(sys.stderr, os.environ)
    line = bytearray()
    while not line.endswith(b"\n"):
        piece = os.read(INPUT, 1)
        if not piece:
            sys.exit(0)
        line += piece
    sys.exit(serve(settings_of(bytes(line)), [INPUT]))
