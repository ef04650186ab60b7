"""The controlling terminal of a process (tty(4))."""

from __future__ import annotations

import contextlib
import fcntl
import os
import termios
from typing import Final

TERMINAL: Final = "/dev/tty"


def leave_terminal() -> None:
    """Have no controlling terminal any more, so that TIOCSTI and the like are refused for any
    terminal. On Linux it still sends its signals (Ctrl-C), on macOS it does not (kern/kern_sig.c,
    pgsignal). The leader of a session keeps it, since for all of its processes it would be
    gone."""
    if os.getsid(0) == os.getpid():
        return
    with contextlib.suppress(OSError):  # there is none
        terminal = os.open(TERMINAL, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            fcntl.ioctl(terminal, termios.TIOCNOTTY)
        finally:
            os.close(terminal)
