"""Noticing the end of a process that is no child (kqueue(2), EVFILT_PROC).

A kqueue is not inherited by children (kqueue(2)), so the undoer makes one of its own, for a process
that is named by its number and the time of its start: a later process may have the number.
"""

from __future__ import annotations

import os
import socket

from router.platform.base.descriptors import HasFileno
from router.platform.darwin.processes_kernel import ProcessesKernel
from router.platform.privileged.undoable import Watched


def watched(kernel: ProcessesKernel, pid: int) -> Watched | None:
    """What another process needs to watch it; None where it has ended, or cannot be named."""
    try:
        seconds, microseconds = kernel.started(pid)
    except OSError:
        return None
    return Watched(f"{pid}:{seconds}:{microseconds}")


def watch(kernel: ProcessesKernel, words: str) -> HasFileno | None:
    """Readable when the process of a Watched has ended, which it may have already; None where the
    kernel does not tell."""
    pid, *started = map(int, words.split(":"))
    try:
        found = kernel.exit_of(pid)
        return found if kernel.started(pid) == tuple(started) else _Ended()
    except ProcessLookupError:
        return _Ended()
    except OSError:
        return None


def watch_parent(kernel: ProcessesKernel) -> HasFileno | None:
    """Of this process; None where it has ended, which its connection shows too."""
    parent = os.getppid()
    try:
        found = kernel.exit_of(parent)
    except OSError:
        return None
    return found if os.getppid() == parent else None


class _Ended:
    """Readable for ever."""

    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair()
        theirs.close()
        self.fileno = self._ours.fileno
