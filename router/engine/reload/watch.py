"""The rules file and the files that it names, watched by a process of its own with the rights of
the start: `run --watch`.

Theory of operation. The router may not be allowed to see these files any more, and stat() of a disk
that does not answer would stop it, or the guard. So the guard starts this program, which looks at
each file every INTERVAL. When a change has settled it looks which files are named by now, and
writes a line to its standard output, upon which the router reads the rules again as by `reload`. No
path passes between the two.

Always true: files are looked at, not read, but for the rules file under the conditions of
router.config.trust; the process ends when the router has closed its end of the pipe; looking takes
at most a hundredth of the time.
"""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from router.config.named_files import named_files
from router.config.trust import this_reader
from router.engine.reload.settling import Settling

INTERVAL: Final = 0.25
"""Seconds."""
SHARE: Final = 100
"""Looking takes a fraction of this of the time at most."""
CHANGED: Final = b"changed\n"
GRAIN: Final = 0.02
"""Seconds that the time of a file may be behind the clock: a tick of the kernel's timer."""

Signature = tuple[int, ...]


def watch(file: Path, since: float, output: int) -> None:
    """Until `output` has no reader. since: the time, in seconds since 1970, from which on changes
    count, also if they were made before this process began."""
    watched = _files(file, frozenset())
    state = look_at(watched)
    settling = Settling(
        {path: None if _is_newer(found, since) else found for path, found in state.items()}
    )
    reader_gone = select.poll()
    reader_gone.register(output, 0)
    while True:
        began = time.monotonic()
        if settling.see(look_at(watched), began):
            watched = _files(file, watched)
            settling.follow(watched, look_at(watched))
            with suppress(BlockingIOError):  # it has not read the last lines yet
                os.write(output, CHANGED)
        pause = max(INTERVAL, SHARE * (time.monotonic() - began))
        if reader_gone.poll(pause * 1000):
            return


def look_at(files: Iterable[Path]) -> dict[Path, Signature | None]:
    """What tells whether a file is another one, or has changed."""
    return {path: _look_at(path) for path in files}


def _look_at(path: Path) -> Signature | None:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _is_newer(found: Signature | None, since: float) -> bool:
    return found is not None and found[-1] >= (since - GRAIN) * 1e9


def _files(file: Path, before: frozenset[Path]) -> frozenset[Path]:
    """The rules file and what it names; as long as it can't be read, what it has named."""
    named = named_files(file, this_reader(os.environ))
    return frozenset({file}) | (before if named is None else named)


def main(file: Path, since: float) -> None:
    output = sys.stdout.fileno()
    os.set_blocking(output, False)
    with suppress(BrokenPipeError):
        watch(file, since, output)
    os._exit(0)
