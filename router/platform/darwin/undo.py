"""Undoing what outlives the utun; see `entries`. The utun's own routes and addresses go with it.

Always true: only what is as the router made it is undone: a scoped default that leads elsewhere by
now, or has a gateway, and one whose interface has another name, stay.
"""

from __future__ import annotations

import contextlib

from router.platform.darwin.entries import recorded_default
from router.platform.darwin.kernel import RoutingKernel
from router.platform.darwin.routing_socket import RoutingSocket, Target
from router.platform.darwin.state import (
    is_made_by_hand,
    read_interfaces,
    read_routes,
    target_of,
)
from router.platform.privileged import socket_files
from router.platform.privileged.undoable import Entry


def undo(kernel: RoutingKernel, entry: Entry) -> None:
    """Idempotent. Raises OSError."""
    if entry["undo"] == socket_files.KIND:
        with contextlib.suppress(FileNotFoundError):
            socket_files.remove_socket(entry)
        return
    version, link = recorded_default(entry)
    found = read_interfaces(kernel).get(link.name)
    if found is None or found.index != link.number:
        return  # its routes went with it
    wanted = Target(version, 0, 0, scope=link.number)
    for route in read_routes(kernel, version):
        if target_of(route) == wanted and is_made_by_hand(route, link.number):
            sock = RoutingSocket(kernel.route_socket())
            try:
                sock.delete(wanted)
            finally:
                sock.close()
            return
