"""The interface that a request to the guard is about."""

from __future__ import annotations

import errno
import socket
from typing import Any, Final

from router.platform.base.errors import PlatformError
from router.platform.linux.interface_requests import flags_of, index_of
from router.platform.privileged.arguments import MOST_INDEX, check_interface_name, check_number

IFF_LOOPBACK: Final = 8
"""linux/if.h"""


def check_index(index: Any) -> None:
    """See check_interface."""
    check_number(index, 1, MOST_INDEX)
    try:
        name = socket.if_indextoname(index)
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        raise PlatformError(f"interface {index} is gone") from error
    check_interface(name, index)


def check_interface(name: Any, index: Any) -> None:
    """An interface that there is, by both; not the loopback interface, from which packets would
    seem to be those of this machine's own programs."""
    check_interface_name(name)
    try:
        found, flags = index_of(name), flags_of(name)
    except OSError as error:
        if error.errno != errno.ENODEV:
            raise
        found = flags = 0
    if not found or found != check_number(index, 1, MOST_INDEX):
        raise PlatformError(f"interface {name} is gone")
    if flags & IFF_LOOPBACK:
        raise PlatformError(f"{name} is the loopback interface, which is no way out")
