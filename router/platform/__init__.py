"""What differs by system, behind the Protocols of `base`.

Every process of a run imports this package, so it imports nothing that one of them does not need.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from router.platform.account import find_account
from router.platform.base.errors import PlatformError

if TYPE_CHECKING:
    from router.flows.trace.words import Tree
    from router.platform.base.capture import Capture
    from router.platform.base.processes import Leftover
    from router.platform.base.system import System
    from router.policy.kernel import KernelWays
    from router.policy.machine.facts import Machine
    from router.policy.network import Network

NOT_HERE: Final = f"tunrouter does not run on {sys.platform}; it needs Linux or macOS"


def this_system(reread: Sequence[str], explain: Sequence[str]) -> System:
    """The system that the router runs on.

    reread, explain: the commands that Processes.start_reread and start_explain start. Raises
    PlatformError on a system that is not supported, and without root.
    """
    if os.geteuid() != 0:
        raise PlatformError("a TUN device and raw sockets need root: run it by sudo")
    if sys.platform == "linux":
        from router.platform.linux.system import LinuxSystem  # noqa: PLC0415 - Linux only

        return LinuxSystem(reread, explain)
    if sys.platform == "darwin":
        from router.platform.darwin.system import DarwinSystem  # noqa: PLC0415 - macOS only

        return DarwinSystem(reread, explain)
    raise PlatformError(NOT_HERE)


def clean_up() -> Iterator[Leftover]:
    """Undo what killed runs have left. Raises PlatformError, OSError."""
    if os.geteuid() != 0:
        raise PlatformError("cleaning up needs root: sudo tunrouter cleanup")
    if sys.platform == "linux":
        from router.platform.linux.leftovers import clean_up as on_linux  # noqa: PLC0415

        return on_linux()
    if sys.platform == "darwin":
        from router.platform.darwin.leftovers import clean_up as on_macos  # noqa: PLC0415

        return on_macos()
    raise PlatformError(NOT_HERE)


def present_network(
    user: str | None = None, *, sources_of: Collection[str] = frozenset(), tun: str | None = None
) -> Network:
    """What the system has at present, read without privileges and without changing anything.

    Works on every system: what cannot be read is named in the answer. `user`: an account
    whose absence is to be noted. `sources_of`: the `interface:` of policies whose source addresses
    are to be read too. `tun`: the name of the TUN, if the rules give it.
    """
    if sys.platform == "linux":
        from router.platform.linux.present import present_network as of_linux  # noqa: PLC0415

        network = of_linux(sources_of=sources_of, tun=tun or "")
    elif sys.platform == "darwin":
        from router.platform.darwin.present import present_network as of_macos  # noqa: PLC0415

        network = of_macos(sources_of=sources_of)
    else:
        from router.policy.network import Network  # noqa: PLC0415 - the guard needs no such thing

        why = f"tunrouter can't read them on {sys.platform}"
        what = f"the interfaces and routes of this system ({why})"
        network = Network(unread=(what,), readable=False)
    if user is None or find_account(user):
        return network
    return network._replace(missing_users=frozenset({user}))


def this_machine(
    interfaces: Collection[str], modules: Collection[str], programs: Collection[str]
) -> Machine:
    """What this machine has for a run, read without changing anything; what cannot be read is named
    in the answer.

    interfaces: whose settings are read. modules: Python packages, programs: that are looked for.
    """
    if sys.platform == "linux":
        from router.platform.linux.machine import read_machine  # noqa: PLC0415

        return read_machine(interfaces, modules, programs)
    if sys.platform == "darwin":
        from router.platform.darwin.machine import read_machine as of_macos  # noqa: PLC0415

        return of_macos(modules, programs)
    from router.platform.unsupported import read_machine as of_another  # noqa: PLC0415

    return of_another(modules, programs)


def kernel_ways() -> KernelWays | None:
    """The kernel's answers about ways, read without privileges; None where it cannot be asked. The
    caller closes them."""
    if sys.platform == "linux":
        from router.platform.linux.present import kernel_ways as of_linux  # noqa: PLC0415

        return of_linux()
    if sys.platform == "darwin":
        from router.platform.darwin.present import kernel_ways as of_macos  # noqa: PLC0415

        return of_macos()
    return None


def open_capture(tun: str, tree: Tree) -> Capture:
    """Copies of the IP packets that come in by any interface but a TUN, and that the filter of a
    trace may match.

    Raises PlatformError where there can be none, as without the rights of root.
    """
    if sys.platform == "linux":
        import socket  # noqa: PLC0415 - the guard needs none

        from router.platform.linux.capture import PacketCapture  # noqa: PLC0415

        try:
            return PacketCapture(socket.if_nametoindex(tun), tree)
        except OSError as error:
            raise PlatformError(f"packets cannot be captured here: {error.strerror}") from error
    if sys.platform == "darwin":
        raise PlatformError("there are none on macOS, which has no direct path")
    raise PlatformError(f"packets cannot be captured on {sys.platform}")


def control_sockets() -> dict[str, Path]:
    """By the name of the TUN, where the control sockets of the routers of this network namespace.

    Raises PlatformError where there can be none.
    """
    if sys.platform == "linux":
        from router.platform.linux.runtime import RUNTIME  # noqa: PLC0415

        return RUNTIME.sockets()
    if sys.platform == "darwin":
        from router.platform.darwin.runtime import RUNTIME as ON_MACOS  # noqa: PLC0415

        return ON_MACOS.sockets()
    raise PlatformError(NOT_HERE)


def confine_connector() -> None:
    """Have no rights but to connect to the control sockets of routers, and to read files.

    Raises PlatformError.
    """
    if sys.platform == "linux":
        from router.platform.linux.confined import confine_connector as on_linux  # noqa: PLC0415

        on_linux()
        return
    if sys.platform == "darwin":
        from router.platform.darwin.confined import confine_connector as on_macos  # noqa: PLC0415

        on_macos()
        return
    raise PlatformError(NOT_HERE)


def confine_server() -> AbstractContextManager[None]:
    """Have the rights of the router's account from the beginning of the context on, in which
    listening sockets are bound; after it, none to open a socket or to connect one.

    Raises PlatformError.
    """
    if sys.platform == "linux":
        from router.platform.linux.confined import confine_server as on_linux  # noqa: PLC0415

        return on_linux()
    if sys.platform == "darwin":
        from router.platform.darwin.confined import confine_server as on_macos  # noqa: PLC0415

        return on_macos()
    raise PlatformError(NOT_HERE)
