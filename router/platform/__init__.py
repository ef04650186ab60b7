"""What differs by system, behind the Protocols of `base`."""

from __future__ import annotations

import sys
from pathlib import Path

from router.platform.base import PlatformError, System
from router.policy.network import Network


def this_system() -> System:
    """The system that the router runs on.

    Raises PlatformError where it cannot run.
    """
    if sys.platform == "linux":
        from router.platform.linux.system import LinuxSystem  # noqa: PLC0415 - Linux only

        return LinuxSystem()
    raise PlatformError(f"tunrouter does not run on {sys.platform} yet; it needs Linux")


def present_network() -> Network:
    """What the system has at present, read without privileges and without changing anything.

    Works on every system: what cannot be read is named in the answer.
    """
    if sys.platform == "linux":
        from router.platform.linux.present import present_network as of_linux  # noqa: PLC0415

        return of_linux()
    what = f"the interfaces and routes of this system (tunrouter can't read them on {sys.platform})"
    return Network(unread=(what,), readable=False)


def control_sockets() -> dict[str, Path]:
    """By the name of the TUN, where the routers of this network namespace are asked.

    Raises PlatformError where there can be none.
    """
    if sys.platform == "linux":
        from router.platform.linux.control_socket import control_sockets as of_linux  # noqa: PLC0415

        return of_linux()
    raise PlatformError(f"tunrouter does not run on {sys.platform} yet; it needs Linux")
