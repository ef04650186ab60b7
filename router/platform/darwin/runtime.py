"""The directory of a running router's files: /var/run/tunrouter.

    /var/run/tunrouter/utun11.undo
    /var/run/tunrouter/utun11.sock

A Mac has one network, so one directory is enough. /var/run is emptied when the system starts; a
journal names its boot all the same.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Final

from router.platform.privileged.runtime import NAME, RuntimeDirectory

RUN: Final = Path("/var/run") / NAME
FULL: Final = "`df /var/run` says whether it is full"
CONNECTORS: Final = 0
"""wheel, the group of root, in which no other account of a Mac is: only what root has started has
it with another user (see `peer`)."""
RUNTIME: Final = RuntimeDirectory(lambda: (RUN,), FULL, CONNECTORS)


def own_tuns(present: Collection[str], runtime: RuntimeDirectory = RUNTIME) -> frozenset[str]:
    """The utuns of running routers. present: the names of all interfaces: a utun goes with its
    router, the file of a killed router's control socket does not."""
    return frozenset(runtime.sockets()) & frozenset(present)
