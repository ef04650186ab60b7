"""The process that has a TUN device open, or the lock of a file (proc(5); drivers/net/tun.c,
tun_chr_show_fdinfo; fs/locks.c, show_fd_locks)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from router.platform.privileged.undoable import Holder

PROC: Final = Path("/proc")
TUN_LINE: Final = "iff:\t"
LOCK_LINE: Final = "lock:\t"


def tun_holder(name: str) -> Holder | None:
    """The process that has a TUN of the present network namespace open, as far as this one may read
    it; None also for a persistent TUN whose program does not run."""
    namespace = (PROC / "self/ns/net").stat().st_ino

    def holds(process: Path) -> bool:
        return (process / "ns/net").stat().st_ino == namespace and any(
            TUN_LINE + name in descriptor.read_text().splitlines()
            for descriptor in (process / "fdinfo").iterdir()
        )

    return _first(holds)


def lock_holder(descriptor: int) -> Holder | None:
    """The process that has locked a file that is open here too (flock(2)), as far as this one may
    read it. Not by /proc/locks, which names the process that took the lock: it may have ended, and
    another have inherited the lock."""
    file = os.fstat(descriptor)

    def holds(process: Path) -> bool:
        return any(
            LOCK_LINE in (process / "fdinfo" / each.name).read_text()
            and os.path.samestat(each.stat(), file)
            for each in (process / "fd").iterdir()
        )

    return _first(holds)


def _first(holds: Callable[[Path], bool]) -> Holder | None:
    """The first process, given as its directory, that does."""
    for process in _processes():
        try:
            if holds(process):
                return Holder(int(process.name), _program(process))
        except OSError:
            continue  # it has ended, or this process may not read it
    return None


def _processes() -> Iterator[Path]:
    return (path for path in PROC.iterdir() if path.name.isdecimal())


def _program(process: Path) -> str:
    arguments = (process / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    return " ".join(arguments).strip() or (process / "comm").read_text().strip()
