"""The guard watches the router's process itself: everything is undone at its end also where neither
the connection nor the undoer says that it has ended."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

GUARD = """
import os, sys
from pathlib import Path
from router.platform.linux.process_descriptor import process_descriptor
from router.platform.linux.undoable import LINUX
from router.platform.privileged.guard import serve
from router.platform.privileged.socket_files import socket_entry
from router.platform.privileged.undoer import Undoer

class Operations:
    by_name, with_records = {}, ()

    def __init__(self, journal, file):
        self.router = process_descriptor(os.getppid())
        self.undoer = Undoer(LINUX, Path(journal))  # which is to watch nothing
        self.undoer.record(socket_entry(file))

    def close(self):
        return self.undoer.close()

made = Operations(*sys.argv[1:])
print(flush=True)
sys.exit(serve(made))
"""
ROUTER = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {GUARD!r}, *sys.argv[1:]])
"""


def test_the_guard_notices_the_end_of_the_router_by_its_process(tmp_path: Path) -> None:
    """The other end of its connection stays open, as in a child of a router that was taken over."""
    directory = tmp_path / "run"
    directory.mkdir()
    change = directory / "tun11.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(change))
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            router = subprocess.Popen(
                [sys.executable, "-c", ROUTER, str(directory / "tun11.undo"), str(change)],
                stdin=theirs.fileno(),
                stdout=subprocess.PIPE,
            )
        with router:
            assert router.stdout is not None
            assert router.stdout.readline() == b"\n", "the guard has made the change"
            assert change.exists()
            router.kill()
            assert router.stdout.read() == b"", "the guard and the undoer have ended"
    assert not directory.exists(), "everything is undone"
