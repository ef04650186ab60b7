"""The TUNs of running routers, as every user can read them (proc_net(5), unix(7)).

Always true: a router is found by its listening control socket, not by the socket's file: a router
that was killed has no listener, though its file may exist.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from router.platform.linux.runtime import runtime_directory
from router.platform.privileged.runtime import SOCKET_SUFFIX

LISTING: Final = Path("/proc/net/unix")
"""Of the present network namespace: number, references, protocol, flags, type, state, inode,
path."""
SO_ACCEPTCON: Final = 0x10000
FLAGS, PATH = 3, 7


def own_tuns(listing: Path = LISTING) -> frozenset[str]:
    """Their names; none where nothing can be read."""
    try:
        directory = f"{runtime_directory()}/"
        lines = listing.read_bytes().decode("utf-8", "replace").splitlines()[1:]
    except OSError:
        return frozenset()
    found = set()
    for line in lines:
        fields = line.split(maxsplit=PATH)
        if len(fields) > PATH and fields[PATH].startswith(directory):
            # Bound under another name, which is this one and a number: see control_socket.
            name, suffix, _ = fields[PATH].removeprefix(directory).rpartition(SOCKET_SUFFIX)
            if suffix and int(fields[FLAGS], 16) & SO_ACCEPTCON:
                found.add(name)
    return frozenset(found)
