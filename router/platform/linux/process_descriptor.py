"""A descriptor that tells when a process ends (pidfd_open(2), Linux 5.3)."""

from __future__ import annotations

import os

from router.platform.linux.only_on_linux import pidfd_open


def process_descriptor(parent: int) -> int | None:
    """Of the parent of this process: readable when it has ended, whatever of its descriptors other
    processes have. None on older kernels."""
    try:
        descriptor = pidfd_open(parent)
    except OSError:
        return None
    if os.getppid() == parent:
        return descriptor
    os.close(descriptor)  # it has ended before, and another process may have its number
    return None
