"""pyroute2's errors as OSError."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from pyroute2.netlink.exceptions import NetlinkError


@contextmanager
def netlink_errors_as_os_errors() -> Iterator[None]:
    """Raise OSError with the kernel's errno number where the body raises NetlinkError."""
    try:
        yield
    except NetlinkError as error:
        raise OSError(error.code, os.strerror(error.code)) from error
