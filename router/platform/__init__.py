"""What differs by system, behind the Protocols of `base`."""

from __future__ import annotations

import sys

from router.platform.base import PlatformError, System


def this_system() -> System:
    """The system that the router runs on.

    Raises PlatformError where it cannot run.
    """
    if sys.platform == "linux":
        from router.platform.linux.system import LinuxSystem  # noqa: PLC0415 - Linux only

        return LinuxSystem()
    raise PlatformError(f"tunrouter does not run on {sys.platform} yet; it needs Linux")
