"""Carries out a command line: output that cannot be written, interrupts, too little memory."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from router.cli import exits
from router.cli.parser import parser

UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)
"""What write() fails with where standard output is no pipe."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status."""
    _open_closed_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # File names need not be text, and a terminal need not have every character.
        sys.stdout.reconfigure(errors="replace")
    try:
        return _run_command(arguments)
    except KeyboardInterrupt:
        return exits.OK
    except BrokenPipeError:  # the reader of our output (head, less) has closed it
        _discard_output()
        return exits.OK
    except MemoryError:
        print("tunrouter: there is not enough memory: see ulimit -v, MemoryMax", file=sys.stderr)
        return exits.FAILED
    except OSError as error:
        if error.errno not in UNWRITABLE or error.filename is not None:
            raise
        _discard_output()
        with contextlib.suppress(OSError):  # standard error may be on the same full disk
            print(f"standard output can't be written: {error.strerror}", file=sys.stderr)
        return exits.FAILED


def _open_closed_streams() -> None:
    """Python has None for a descriptor that is closed at the start."""
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115


def _run_command(arguments: Sequence[str] | None) -> int:
    """Flushes standard output whatever happens, --help included, so that its errors are raised."""
    try:
        options = parser().parse_args(arguments)
        status: int = options.command(options)
    finally:
        sys.stdout.flush()
    return status


def _discard_output() -> None:
    """Let Python's own flush at the end succeed."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
