"""Whose a TUN device is (proc(5); drivers/net/tun.c, tun_chr_show_fdinfo)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

PROC: Final = Path("/proc")
LINE: Final = "iff:\t"


class Holder(NamedTuple):
    """A process that has a TUN device open. `program` as in ps(1), its arguments too."""

    pid: int
    program: str


def tun_holder(name: str) -> Holder | None:
    """Who has a TUN of the present network namespace open, as far as we may know; nobody has a
    persistent one that waits for its program."""
    ours = (PROC / "self/ns/net").stat().st_ino
    for process in _processes():
        try:
            if (process / "ns/net").stat().st_ino == ours and _holds(process, name):
                return Holder(int(process.name), _program(process))
        except OSError:
            continue  # it has ended meanwhile, or is none of ours
    return None


def _processes() -> Iterator[Path]:
    return (path for path in PROC.iterdir() if path.name.isdecimal())


def _holds(process: Path, name: str) -> bool:
    return any(
        LINE + name in descriptor.read_text().splitlines()
        for descriptor in (process / "fdinfo").iterdir()
    )


def _program(process: Path) -> str:
    arguments = (process / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    return " ".join(arguments).strip() or (process / "comm").read_text().strip()
